//! What a listener is secured with, as it stands in the files: read, checked, and made into what rustls works by.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fmt, fs};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::config::TlsConfig;
use crate::setting::InvalidSetting;

/// What is spoken within TLS.
const ALPN: &[u8] = b"http/1.1";
/// Tickets by which a client may go on with its keys, of TLS 1.3: it may use each of them once.
const TICKETS: usize = 2;

/// The bytes of the files.
pub(super) struct Material {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

/// What is in the files, without being it: two are the same if their files were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

/// What rustls works by, and what is to be known of it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) server: Arc<ServerConfig>,
    /// The time until which the certificate is valid, in seconds since 1970; `None` where it cannot be told.
    pub(super) expires_at: Option<u64>,
    /// What is wrong with the certificate although it can be used.
    pub(super) warning: Option<&'static str>,
}

impl Material {
    /// Reads the files. `section` is how the keys begin that name them.
    ///
    /// # Errors
    /// Names the key whose file cannot be read.
    pub(super) fn read(config: &TlsConfig, section: &str) -> Result<Self, InvalidSetting> {
        let read = |key: &str, path: &Path| {
            fs::read(path).map_err(|error| unusable(section, key, path, format!("cannot be read: {error}")))
        };
        let (certificate, key) = match &config.in_memory {
            Some(in_memory) => {
                let (certificate, key) = in_memory.pem();
                (certificate.to_vec(), key.to_vec())
            }
            None => {
                (read("certificate_file", &config.certificate_file)?, read("key_file", &config.key_file)?)
            }
        };
        let client_ca = config.client_ca_file.as_deref().map(|path| read("client_ca_file", path));
        Ok(Self { certificate, key, client_ca: client_ca.transpose()? })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for part in [&self.certificate, &self.key, self.client_ca.as_ref().unwrap_or(&Vec::new())] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Fingerprint(hash.finalize().into())
    }

    /// Makes of it what rustls works by.
    ///
    /// # Errors
    /// Names the key of the file that is not what it should be, never what is in it.
    pub(super) fn load(&self, config: &TlsConfig, section: &str) -> Result<Loaded, InvalidSetting> {
        let bad = |key: &str, path: &Path, why: String| unusable(section, key, path, why);
        let bad_certificate = |why: String| bad("certificate_file", &config.certificate_file, why);
        let chain = certificates(&self.certificate).map_err(&bad_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| bad("key_file", &config.key_file, no_key(&error)))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = match (&self.client_ca, &config.client_ca_file) {
            (Some(pem), Some(path)) => {
                let bad = |why| bad("client_ca_file", path, why);
                let roots = roots(pem).map_err(bad)?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
                let verifier = match config.must_have_certificate() {
                    true => verifier,
                    false => verifier.allow_unauthenticated(),
                };
                Some(verifier.build().map_err(|error| bad(error.to_string()))?)
            }
            _ => None,
        };
        let expires = validity(&chain[0]);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has both versions");
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let of = config.certificate_file.display();
                bad("key_file", &config.key_file, format!("is not the key of the certificate in {of}"))
            }
            Error::InvalidCertificate(why) => bad_certificate(format!("holds no good certificate: {why:?}")),
            error => bad("key_file", &config.key_file, format!("cannot be used: {error}")),
        })?;
        keep_sessions(&mut server, &provider);
        server.alpn_protocols = vec![ALPN.to_vec()];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let warning = match expires {
            Some((_, until)) if until < now => Some("the certificate has expired"),
            Some((from, _)) if from > now => Some("the certificate is not valid yet"),
            _ => None,
        };
        Ok(Loaded { server: Arc::new(server), expires_at: expires.map(|(_, until)| until), warning })
    }
}

/// Has clients come back without a signature being made for each: what they need for that they keep themselves. Keys for
/// that are new with each configuration, so nobody goes on with what another certificate or another authority gave.
fn keep_sessions(server: &mut ServerConfig, provider: &CryptoProvider) {
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = TICKETS;
    match ring::Ticketer::new() {
        Ok(ticketer) => server.ticketer = ticketer,
        // Then all handshakes are full ones.
        Err(error) => tracing::warn!(%error, random = ?provider.secure_random, "no session tickets"),
    }
}

fn unusable(section: &str, key: &str, path: &Path, why: String) -> InvalidSetting {
    InvalidSetting::new(format!("{section}.{key}"), format!("{} {why}", path.display()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|_| "is not in PEM form".to_owned())?;
    if read.is_empty() { Err("holds no certificate in PEM form".into()) } else { Ok(read) }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|_| "holds what is no certificate".to_owned())?;
    }
    Ok(store)
}

/// Why there is no key, without anything of what there is.
fn no_key(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => {
            "holds no private key in PEM form (an encrypted one cannot be read)".into()
        }
        _ => "is not in PEM form".into(),
    }
}

/// When a certificate begins and ends to be valid, in seconds since 1970.
fn validity(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let validity = parsed.tbs_certificate().validity();
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    Some((seconds(validity.not_before), seconds(validity.not_after)))
}
