//! TLS to the broker, by certificates that a file says are to be trusted.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use anyhow::{Context as _, ensure};
use fanfare_client::rustls::client::Resumption;
use fanfare_client::rustls::crypto::ring;
use fanfare_client::rustls::pki_types::pem::PemObject;
use fanfare_client::rustls::pki_types::{CertificateDer, ServerName};
use fanfare_client::rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom to trust, and by which name the broker is known.
#[derive(Clone)]
pub(crate) struct Trust {
    pub(crate) config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Trust {
    /// Trusts the certificates of a PEM file to be those of that host. Nobody goes on with the keys of an earlier connection:
    /// each is a stranger's.
    ///
    /// # Errors
    /// Says what is wrong with the file or the host.
    pub(crate) fn read(file: &Path, host: &str) -> anyhow::Result<Self> {
        let shown = file.display();
        let mut roots = RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(file).with_context(|| format!("cannot read {shown}"))?
        {
            roots.add(certificate.with_context(|| format!("{shown} is not in PEM form"))?)?;
        }
        ensure!(!roots.is_empty(), "{shown} holds no certificate in PEM form");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name"))?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// Begins to speak TLS.
    ///
    /// # Errors
    /// What comes of a handshake that fails.
    pub(crate) async fn secure(&self, tcp: TcpStream) -> anyhow::Result<Box<TlsStream<TcpStream>>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Ok(Box::new(connector.connect(self.name.clone(), tcp).await.context("TLS")?))
    }
}

/// One of the halves of a connection: both work on the whole, one at a time.
#[derive(Debug, Clone)]
pub(crate) struct SecuredHalf(Arc<Mutex<Box<TlsStream<TcpStream>>>>);

impl SecuredHalf {
    pub(crate) fn new(stream: Box<TlsStream<TcpStream>>) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    fn with<T>(&self, act: impl FnOnce(Pin<&mut TlsStream<TcpStream>>) -> T) -> T {
        act(Pin::new(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Reads, and lets go what was written and has not left yet.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        self.with(|mut stream| {
            if let Poll::Ready(Err(error)) = stream.as_mut().poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            stream.poll_read(cx, buf)
        })
    }

    /// Writes as much as goes without waiting; says how much that was.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        self.with(|mut stream| {
            let written = match stream.as_mut().poll_write(&mut cx, bytes) {
                Poll::Pending => return Ok(0),
                Poll::Ready(written) => written?,
            };
            drop(stream.poll_flush(&mut cx));
            Ok(written)
        })
    }

    /// Ready when more can be written.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.with(|mut stream| {
            ready!(stream.as_mut().poll_flush(cx))?;
            stream.get_ref().0.poll_write_ready(cx)
        })
    }

    /// Has the connection end without a goodbye when it is dropped.
    pub(crate) fn set_zero_linger(&self) -> std::io::Result<()> {
        self.with(|stream| stream.get_ref().0.set_zero_linger())
    }
}
