//! `wss://`.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use fanfare_client::{Client, Error, FailureKind, Payload};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::peer::{Listener, Peer, soon};

/// A server that has the certificate.
fn acceptor(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions that ring has")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a key that fits");
    TlsAcceptor::from(Arc::new(server))
}

/// A certificate for `localhost`, a server that has it, and a client that trusts it.
fn self_made() -> (TlsAcceptor, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions that ring has")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (acceptor(&made), Arc::new(client))
}

fn url(listener: &Listener) -> String {
    listener.url().replace("ws://127.0.0.1", "wss://localhost")
}

#[tokio::test]
async fn a_trusted_certificate_lets_the_client_in() {
    let (acceptor, trust) = self_made();
    let listener = Listener::bind().await;
    let options = Client::builder(&url(&listener)).tls(trust).message_size(1 << 20);
    let (client, mut peer) = tokio::join!(soon(options.connect()), async {
        let stream = soon(acceptor.accept(listener.accept_tcp().await)).await.expect("TLS");
        let mut peer = Peer::handshake(stream).await;
        peer.welcome().await;
        peer
    });
    let client = client.expect("connected");
    let payload = "x".repeat(200_000);
    let ack = client.publish("t", Payload::text(payload.clone())).send().await.expect("room");
    assert_eq!(peer.published(1).await["data"], payload);
    soon(ack).await.expect("acknowledged");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_does_not() {
    let (acceptor, _) = self_made();
    let listener = Listener::bind().await;
    let connect = Client::builder(&url(&listener))
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .connect_timeout(Duration::from_secs(2))
        .connect();
    let serve = async {
        loop {
            let refused = acceptor.accept(listener.accept_tcp().await).await;
            assert!(refused.is_err(), "the client must break off");
        }
    };
    let error = tokio::select! { client = soon(connect) => client.expect_err("not trusted"), () = serve => unreachable!() };
    assert!(
        matches!(&error, Error::Timeout { last_failure: Some(failure), .. } if failure.kind() == FailureKind::Tls && failure.source().is_some()),
        "{error}"
    );
}

/// A file with these certificates.
fn pem_file(name: &str, content: &str) -> std::path::PathBuf {
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}.pem", std::process::id()));
    std::fs::write(&path, content).expect("written");
    path
}

#[tokio::test]
async fn root_certificates_are_taken_from_a_file() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let acceptor = acceptor(&made);
    let roots = pem_file("roots", &made.cert.pem());
    let listener = Listener::bind().await;
    let options = Client::builder(&url(&listener)).root_certificates(&roots);
    let (client, _peer) = tokio::join!(soon(options.connect()), async {
        let stream = soon(acceptor.accept(listener.accept_tcp().await)).await.expect("TLS");
        let mut peer = Peer::handshake(stream).await;
        peer.welcome().await;
        peer
    });
    client.expect("connected");
    std::fs::remove_file(roots).expect("it is there");
}

#[tokio::test]
async fn root_certificates_that_are_none_are_refused_by_the_name_of_their_file() {
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, why) in [
        (pem_file("empty", "no certificate"), "holds no certificate"),
        (pem_file("garbage", garbage), "a certificate in"),
        ("/nowhere/roots.pem".into(), "No such file"),
    ] {
        let error =
            Client::builder("wss://localhost").root_certificates(&path).connect_lazy().expect_err(why);
        let text = error.to_string();
        assert!(text.contains(path.to_str().expect("text")) && text.contains(why), "{text}");
    }
}
