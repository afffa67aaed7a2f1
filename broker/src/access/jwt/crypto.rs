//! The cryptography of signed tokens, by ring. It knows four algorithms and no more.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::{hmac, signature};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(RingSigner::new(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(RingVerifier::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has the library of tokens use this, unless the program has given it something already.
pub(super) fn install() {
    let _another = PROVIDER.install_default();
}

fn check_family(algorithm: Algorithm, family: AlgorithmFamily) -> Result<(), JwtError> {
    match algorithm {
        Algorithm::HS256 | Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => {}
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
    // So a public key is never taken for a secret.
    if algorithm.family() == family { Ok(()) } else { Err(ErrorKind::InvalidKeyFormat.into()) }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl RingVerifier {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, JwtError> {
        check_family(algorithm, key.family())?;
        Ok(Self { algorithm, key: key.clone() })
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        let verify = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            signature::UnparsedPublicKey::new(algorithm, key).verify(message, signature)
        };
        let rsa = &signature::RSA_PKCS1_2048_8192_SHA256;
        let verified = match (self.key.kind(), self.algorithm) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, Algorithm::RS256) => {
                signature::RsaPublicKeyComponents { n, e }.verify(rsa, message, signature)
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::RS256) => verify(rsa, key),
            (DecodingKeyKind::SecretOrDer(key), Algorithm::ES256) => {
                verify(&signature::ECDSA_P256_SHA256_FIXED, key)
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::EdDSA) => verify(&signature::ED25519, key),
            (DecodingKeyKind::SecretOrDer(secret), Algorithm::HS256) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, signature)
            }
            _ => Err(ring::error::Unspecified),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct RingSigner {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl RingSigner {
    fn new(algorithm: Algorithm, key: &EncodingKey) -> Result<Self, JwtError> {
        check_family(algorithm, key.family())?;
        Ok(Self { algorithm, key: key.clone() })
    }
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let (key, random) = (self.key.as_bytes(), SystemRandom::new());
        Ok(match self.algorithm {
            Algorithm::HS256 => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
            }
            Algorithm::RS256 => {
                let key = signature::RsaKeyPair::from_der(key).map_err(|_| Error::new())?;
                let mut signed = vec![0; key.public().modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signed)
                    .map_err(|_| Error::new())?;
                signed
            }
            Algorithm::ES256 => {
                let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                let key =
                    signature::EcdsaKeyPair::from_pkcs8(algorithm, key, &random).map_err(|_| Error::new())?;
                key.sign(&random, message).map_err(|_| Error::new())?.as_ref().to_vec()
            }
            Algorithm::EdDSA => {
                let key =
                    signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).map_err(|_| Error::new())?;
                key.sign(message).as_ref().to_vec()
            }
            _ => return Err(Error::new()),
        })
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
