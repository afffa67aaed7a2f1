//! TLS: rustls with ring, trusting what the operating system trusts.

use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::token::BoxError;

/// Secures the connection to `host`.
pub(crate) async fn secure(
    tcp: TcpStream,
    host: &str,
    config: Option<Arc<ClientConfig>>,
) -> Result<TlsStream<TcpStream>, BoxError> {
    let config = match config {
        Some(config) => config,
        // Reads files: not on a thread that others wait for.
        None => tokio::task::spawn_blocking(system_config).await??,
    };
    let name = ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(config).connect(name, tcp).await?)
}

/// Trusts the operating system's certificate authorities; read once a process.
///
/// They rather than a list compiled in: administrators add their own there, and updates reach them.
fn system_config() -> Result<Arc<ClientConfig>, BoxError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(match found.errors.into_iter().next() {
            Some(error) => error.into(),
            None => "the system has no certificate authorities to trust".into(),
        });
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}
