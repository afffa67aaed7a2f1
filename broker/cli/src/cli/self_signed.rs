//! `fanfare serve --tls-self-signed`: a certificate for a developer's machine.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use fanfare::config::{InMemory, TlsConfig};
use rcgen::{CertificateParams, DnType, KeyPair};
use sha2::{Digest as _, Sha256};

/// Whom it is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// For how long it is valid: a start makes another one.
const VALID: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Before now it is valid as well, for clocks that are behind.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that nobody knows yet, and its key, which leaves this process nowhere.
pub(crate) struct SelfSigned {
    pub(crate) config: TlsConfig,
    /// The SHA-256 of the certificate, as browsers show it.
    pub(crate) fingerprint: String,
}

/// Makes a certificate, and writes it to that file, if any.
pub(crate) fn make(file: Option<&Path>) -> anyhow::Result<SelfSigned> {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "Fanfare, self-signed");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(SLACK);
    params.not_after = epoch + (now + VALID);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    if let Some(file) = file {
        std::fs::write(file, certificate.pem())
            .with_context(|| format!("--tls-self-signed: {} cannot be written", file.display()))?;
    }
    let hash = Sha256::digest(certificate.der());
    let fingerprint = hash.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let in_memory = InMemory::new(certificate.pem(), key.serialize_pem());
    let config = TlsConfig { in_memory: Some(in_memory), ..TlsConfig::default() };
    Ok(SelfSigned { config, fingerprint })
}
