//! TLS: certificates, and peers that speak it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use fanfare::config::{InMemory, TlsConfig};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use crate::deadline::soon;

pub use tokio_rustls::rustls;

/// Both versions.
pub const TLS_VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// Somebody who signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key, both in PEM form.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), certificate }
    }
}

impl Authority {
    /// A new certificate for that name.
    pub fn sign(&self, name: &str) -> Identity {
        self.sign_as(CertificateParams::new([name.to_owned()]).expect("a name"))
    }

    /// A new certificate of these parameters.
    pub fn sign_as(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Its own certificate, in PEM form.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// How a client trusts it that speaks these versions and has that certificate, if any.
    pub fn trusted_by(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        use tokio_rustls::rustls::pki_types::pem::PemObject;
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions that ring has")
            .with_root_certificates(roots);
        Arc::new(match identity {
            None => config.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                config.with_client_auth_cert(vec![chain], key).expect("a key that fits")
            }
        })
    }
}

impl Identity {
    /// The configuration of a listener that has it.
    pub fn config(&self) -> TlsConfig {
        let in_memory = InMemory::new(self.certificate.clone(), self.key.clone());
        TlsConfig { in_memory: Some(in_memory), ..TlsConfig::default() }
    }
}

/// TLS with whoever listens there as `localhost`.
///
/// # Errors
/// What comes of a handshake that fails.
pub async fn secure(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = soon("a connection", TcpStream::connect(address)).await.expect("the broker listens");
    secure_on(tcp, config).await
}

/// The same on a socket that is there.
///
/// # Errors
/// What comes of a handshake that fails.
pub async fn secure_on(tcp: TcpStream, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    soon("TLS", TlsConnector::from(Arc::clone(config)).connect(name, tcp)).await
}

/// The broker whose tests are run over TLS: one authority for all of them.
fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::default)
}

/// The listeners that all peers reach by TLS.
static SECURED: Mutex<Option<HashSet<SocketAddr>>> = Mutex::new(None);

/// How the public listener is secured where tests are run over TLS.
pub(crate) fn config() -> TlsConfig {
    authority().sign("localhost").config()
}

/// All peers reach that address by TLS from now on.
pub(crate) fn reach_by_tls(address: SocketAddr) {
    SECURED.lock().expect("nobody panics with it").get_or_insert_default().insert(address);
}

/// A connection to that address; where it is to be reached by TLS what is written to the socket is encrypted on the way.
pub(crate) async fn connect(address: SocketAddr, receive_buffer: Option<u32>) -> TcpStream {
    let is_secured = {
        let secured = SECURED.lock().expect("nobody panics with it");
        secured.as_ref().is_some_and(|secured| secured.contains(&address))
    };
    let stream = connect_plain(address, receive_buffer).await;
    if !is_secured {
        return stream;
    }
    let versions = [&version::TLS13];
    let far = secure_on(stream, &authority().trusted_by(&versions, None)).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(size) = receive_buffer {
        // On its way no more is kept than at its end.
        socket.set_send_buffer_size(size).expect("a small buffer");
    }
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(1).expect("a port");
    let near = listener.local_addr().expect("an address");
    let (near, accepted) = tokio::join!(connect_plain(near, receive_buffer), listener.accept());
    let (mut accepted, _) = accepted.expect("it is there");
    // Who is not let in is cut off.
    let Ok(mut far) = far else { return near };
    #[expect(clippy::disallowed_methods, reason = "it ends with the socket")]
    tokio::spawn(async move {
        drop(tokio::io::copy_bidirectional_with_sizes(&mut accepted, &mut far, 4096, 4096).await);
    });
    near
}

async fn connect_plain(address: SocketAddr, receive_buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size).expect("a small buffer");
    }
    // As browsers and our client have it: else what is sent behind an unanswered frame waits 40 ms for the kernel.
    socket.set_nodelay(true).expect("an option");
    soon("a connection", socket.connect(address)).await.expect("the broker listens")
}
