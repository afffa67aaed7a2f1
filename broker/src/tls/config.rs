//! How a listener is secured: the sections `server.tls` and `server.admin_tls`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::setting::InvalidSetting;

/// How a listener is secured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those between it and a root, in PEM form.
    pub certificate_file: PathBuf,
    /// The certificate's private key, in PEM form.
    pub key_file: PathBuf,
    /// The authorities by which client certificates are signed, in PEM form. Without it nobody is asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client must have a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// What goes before certificate and key of the files.
    #[serde(skip)]
    pub in_memory: Option<InMemory>,
}

/// Whether a client must have a certificate of the configured authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Whoever has one must have a good one.
    Optional,
    /// Nobody connects without one.
    Required,
}

/// A certificate and its key that are in no file.
#[derive(Clone, PartialEq)]
pub struct InMemory {
    certificate: String,
    key: String,
}

impl InMemory {
    /// A certificate and its private key, both in PEM form.
    pub fn new(certificate: String, key: String) -> Self {
        Self { certificate, key }
    }

    pub(super) fn pem(&self) -> (&[u8], &[u8]) {
        (self.certificate.as_bytes(), self.key.as_bytes())
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").finish_non_exhaustive()
    }
}

impl TlsConfig {
    /// Secured by the certificate and the key of these files.
    pub fn of_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate_file: certificate.into(), key_file: key.into(), ..Self::default() }
    }

    /// `section` is how its keys begin. The files are not looked at.
    ///
    /// # Errors
    /// Names what is missing.
    pub(crate) fn check(&self, section: &str) -> Result<(), InvalidSetting> {
        let missing = |key: &str, why: &str| Err(InvalidSetting::new(format!("{section}.{key}"), why));
        let is_missing = |path: &Path| path.as_os_str().is_empty() && self.in_memory.is_none();
        if is_missing(&self.certificate_file) {
            return missing("certificate_file", "is missing: expected the path of a certificate in PEM form");
        }
        if is_missing(&self.key_file) {
            return missing("key_file", "is missing: expected the path of the certificate's key in PEM form");
        }
        if self.client_certificates.is_some() && self.client_ca_file.is_none() {
            let why = "is missing: client_certificates are checked by the authorities in it";
            return missing("client_ca_file", why);
        }
        Ok(())
    }

    /// Whether clients are asked for a certificate, and must have one.
    pub(super) fn must_have_certificate(&self) -> bool {
        self.client_certificates != Some(ClientCertificates::Optional)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let good = TlsConfig::of_files("a.pem", "a.key");
        let required = Some(ClientCertificates::Required);
        for (config, said) in [
            (good.clone(), None),
            (TlsConfig { client_ca_file: Some("ca.pem".into()), ..good.clone() }, None),
            (TlsConfig::of_files("", "a.key"), Some("server.tls.certificate_file: is missing")),
            (TlsConfig::of_files("a.pem", ""), Some("server.tls.key_file: is missing")),
            (
                TlsConfig { client_certificates: required, ..good },
                Some("server.tls.client_ca_file: is missing"),
            ),
            (
                TlsConfig { in_memory: Some(InMemory::new("c".into(), "k".into())), ..TlsConfig::default() },
                None,
            ),
        ] {
            let found = config.check("server.tls").err().map(|error| error.to_string());
            match said {
                None => assert_eq!(found, None),
                Some(said) => {
                    assert!(found.as_ref().is_some_and(|found| found.starts_with(said)), "{found:?}")
                }
            }
        }
    }
}
