//! TLS: rustls, trusting what the operating system trusts and what it was told to besides.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::token::BoxError;
use crate::error::Error;

pub(crate) type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// Whom to trust.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Instead of anything else.
    pub(crate) config: Option<Arc<ClientConfig>>,
    /// Besides what the operating system trusts.
    roots: Vec<CertificateDer<'static>>,
    /// What was made of `roots`, for the client's next connections.
    made: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Trust {
    /// Reads the certificates of a PEM file.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let shown = path.display();
        let bad = |e| Error::invalid(&format!("the root certificates in {shown}"), e);
        let read =
            CertificateDer::pem_file_iter(path).map_err(bad)?.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        if read.is_empty() {
            return Err(Error::invalid_text(format!("{shown} holds no certificate in PEM form")));
        }
        let mut store = RootCertStore::empty();
        for certificate in read {
            store
                .add(certificate.clone())
                .map_err(|e| Error::invalid(&format!("a certificate in {shown}"), e))?;
            self.roots.push(certificate);
        }
        self.made = Arc::default();
        Ok(())
    }

    fn config(self) -> Result<Arc<ClientConfig>, BoxError> {
        /// The configuration of those who trust the system alone: read once a process.
        static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let made = if self.roots.is_empty() { &SYSTEM } else { &*self.made };
        if let Some(config) = self.config.as_ref().or_else(|| made.get()) {
            return Ok(config.clone());
        }
        let config = Arc::new(config(self.roots)?);
        Ok(made.get_or_init(|| config).clone())
    }
}

/// Secures the connection to `host`.
///
/// # Errors
/// What the system, or rustls, says.
///
/// # Cancel safety
/// Dropped, the connection is cut.
pub async fn secure(tcp: TcpStream, host: &str, trust: Trust) -> Result<Stream, BoxError> {
    // May read files: not on a thread that others wait for.
    let config = tokio::task::spawn_blocking(|| trust.config()).await??;
    let name = ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(config).connect(name, tcp).await?)
}

/// Trusts the operating system's certificate authorities and these.
///
/// The system's rather than a list compiled in: administrators add their own there, and updates reach them.
fn config(more: Vec<CertificateDer<'static>>) -> Result<ClientConfig, BoxError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs.into_iter().chain(more));
    if added == 0 {
        return Err(match found.errors.into_iter().next() {
            Some(error) => error.into(),
            None => io::Error::other("the system has no certificate authorities to trust").into(),
        });
    }
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(not(feature = "aws-lc-rs"))]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
