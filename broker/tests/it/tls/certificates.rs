//! Certificates: those of the broker, which may change under it, and those of its clients.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fanfare::config::{ClientCertificates, TlsConfig};
use fanfare::{Broker, Config};
use fanfare_harness::tls::{Authority, Identity, TLS_VERSIONS, rustls, secure};
use fanfare_harness::{http, metric, soon, start};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{get, raw, trust};

/// A folder of this test alone, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fanfare-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written to");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).expect("the folder can be written to");
        self.path(name)
    }

    /// Writes a certificate and its key; how a listener is secured by them.
    fn config(&self, identity: &Identity) -> TlsConfig {
        TlsConfig::of_files(
            self.write("tls.crt", &identity.certificate),
            self.write("tls.key", &identity.key),
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

async fn until_metric(admin: std::net::SocketAddr, name: &str, value: f64) {
    soon(name, async {
        while metric(admin, name).await != value {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

const SUCCESSFUL: &str = "fanfare_tls_last_reload_successful";

#[tokio::test]
async fn a_certificate_changes_under_live_connections_and_a_broken_one_does_not() {
    let (folder, old, new) = (Folder::new("changes"), Authority::default(), Authority::default());
    let config = folder.config(&old.sign("localhost"));
    let broker = start(|started| started.server.tls = Some(config)).await;
    let (address, admin) = (broker.public_addr(), broker.admin_addr());
    let mut live = raw(&broker, &trust(&old), "t").await;
    assert!(secure(address, &trust(&new)).await.is_err(), "it is another's yet");

    // Half of it is no certificate and key: nothing changes.
    let next = new.sign("localhost");
    folder.write("tls.key", &next.key);
    until_metric(admin, SUCCESSFUL, 0.0).await;
    secure(address, &trust(&old)).await.expect("the old one is in use");
    folder.write("tls.crt", "no certificate");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(metric(admin, SUCCESSFUL).await, 0.0);
    secure(address, &trust(&old)).await.expect("the old one is in use");

    folder.write("tls.crt", &next.certificate);
    until_metric(admin, SUCCESSFUL, 1.0).await;
    let mut stream = secure(address, &trust(&new)).await.expect("the new one is in use");
    assert!(get(&mut stream, "/v1/topics").await.expect("an answer").starts_with("HTTP/1.1 200"));
    assert!(secure(address, &trust(&old)).await.is_err(), "the old one is not any more");
    let body = http_over(&mut secure(address, &trust(&new)).await.expect("TLS")).await;
    assert!(body.starts_with("HTTP/1.1 200"), "{body}");
    let said = soon("a message", live.next()).await.expect("open").expect("open");
    assert_eq!(said.to_text().expect("text"), "hello", "who was there has stayed");
}

#[tokio::test]
async fn files_that_go_away_and_come_back_change_nothing_until_they_are_there() {
    let (folder, old, new) = (Folder::new("gone"), Authority::default(), Authority::default());
    let first = old.sign("localhost");
    let config = folder.config(&first);
    let broker = start(|started| started.server.tls = Some(config)).await;
    let (address, admin) = (broker.public_addr(), broker.admin_addr());
    let mut live = raw(&broker, &trust(&old), "t").await;
    let remove = || {
        for name in ["tls.crt", "tls.key"] {
            std::fs::remove_file(folder.path(name)).expect("it is there");
        }
    };
    // What comes back may be what was there, or something else.
    for (returns, by) in [(&first, &old), (&new.sign("localhost"), &new)] {
        remove();
        until_metric(admin, SUCCESSFUL, 0.0).await;
        secure(address, &trust(&old)).await.expect("the old one is in use");
        assert!(secure(address, &trust(&new)).await.is_err(), "it is not there yet");
        let answer = http_over(&mut secure(address, &trust(&old)).await.expect("TLS")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let said = soon("a message", live.next()).await.expect("open").expect("open");
        assert_eq!(said.to_text().expect("text"), "hello", "who was there has stayed");
        folder.config(returns);
        until_metric(admin, SUCCESSFUL, 1.0).await;
        secure(address, &trust(by)).await.expect("what is there is in use");
    }
    assert!(secure(address, &trust(&old)).await.is_err(), "the old one is not any more");
    http_over(&mut secure(address, &trust(&new)).await.expect("TLS")).await;
    let said = soon("a message", live.next()).await.expect("open").expect("open");
    assert_eq!(said.to_text().expect("text"), "hello", "who was there has stayed");
}

/// Publishes `hello` to `t`.
async fn http_over(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    let request = "POST /v1/topics/t/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
        Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    soon("room", stream.write_all(request.as_bytes())).await.expect("room");
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.expect("an answer");
    answer
}

#[tokio::test]
async fn when_a_certificate_ends_is_told() {
    let (authority, mut params) =
        (Authority::default(), rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name"));
    params.not_after = rcgen::date_time_ymd(2100, 1, 2);
    let config = authority.sign_as(params).config();
    let broker = start(|started| started.server.tls = Some(config)).await;
    let name = "fanfare_tls_certificate_expiry_timestamp_seconds";
    assert_eq!(metric(broker.admin_addr(), name).await, 4_102_531_200.0);
}

#[tokio::test]
async fn without_a_good_client_certificate_nobody_connects_where_one_is_required() {
    let (folder, ours, others) = (Folder::new("clients"), Authority::default(), Authority::default());
    for required in [true, false] {
        let mut config = ours.sign("localhost").config();
        config.client_ca_file = Some(folder.write("ca.pem", &ours.pem()));
        config.client_certificates = (!required).then_some(ClientCertificates::Optional);
        let broker = start(|started| started.server.tls = Some(config)).await;
        for version in TLS_VERSIONS {
            let ask = async |identity: Option<&Identity>| {
                let trust = ours.trusted_by(&[version], identity);
                let mut stream = secure(broker.public_addr(), &trust).await?;
                get(&mut stream, "/v1/topics").await
            };
            let known = ask(Some(&ours.sign("backend"))).await.expect("it is known");
            assert!(known.starts_with("HTTP/1.1 200"), "{known}");
            let error = ask(Some(&others.sign("backend"))).await.expect_err("it is another's");
            assert!(error.get_ref().is_some_and(|why| why.is::<rustls::Error>()), "it is told: {error:?}");
            match ask(None).await {
                Ok(answer) => assert!(!required && answer.starts_with("HTTP/1.1 200"), "{answer}"),
                Err(error) => {
                    assert!(required, "{error}");
                    assert!(
                        error.to_string().contains("CertificateRequired")
                            || error.to_string().contains("alert"),
                        "it is told: {error:?}"
                    );
                }
            }
        }
        let rejected = if required { 4.0 } else { 2.0 };
        until_metric(broker.admin_addr(), "fanfare_connection_rejected_total", rejected).await;
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_named_and_nothing_starts() {
    let (folder, authority) = (Folder::new("bad"), Authority::default());
    let (one, other) = (authority.sign("localhost"), authority.sign("localhost"));
    let certificate = folder.write("one.crt", &one.certificate);
    let key = folder.write("one.key", &one.key);
    let bad = folder.write("bad.pem", "-----BEGIN NOTHING");
    let secret =
        folder.write("secret.pem", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
    let no_file = folder.path("none");
    let files = |certificate: &Path, key: &Path| TlsConfig::of_files(certificate, key);
    let of_clients =
        |path: &Path| TlsConfig { client_ca_file: Some(path.into()), ..files(&certificate, &key) };
    for (config, said) in [
        (files(&no_file, &key), ["server.tls.certificate_file", "cannot be read"]),
        (files(&certificate, &no_file), ["server.tls.key_file", "cannot be read"]),
        (files(&key, &key), ["server.tls.certificate_file", "no certificate"]),
        (files(&certificate, &certificate), ["server.tls.key_file", "no private key"]),
        (files(&bad, &key), ["server.tls.certificate_file", "PEM"]),
        (files(&certificate, &secret), ["server.tls.key_file", "cannot be used"]),
        (
            files(&certificate, &folder.write("other.key", &other.key)),
            ["server.tls.key_file", "is not the key of"],
        ),
        (of_clients(&bad), ["server.tls.client_ca_file", "PEM"]),
        (of_clients(&no_file), ["server.tls.client_ca_file", "cannot be read"]),
    ] {
        let mut started = Config::for_tests();
        started.server.tls = Some(config);
        let checked = started.server.check_files().expect_err("it is of no use").to_string();
        let error = Broker::start(started).await.expect_err("it is of no use").to_string();
        assert_eq!(checked, error);
        assert!(said.iter().all(|said| error.contains(said)), "{error}");
        assert!(!error.contains("c2VjcmV0"), "{error}");
    }
}

#[tokio::test]
async fn the_admin_listener_is_secured_by_a_section_of_its_own() {
    let (ours, admins) = (Authority::default(), Authority::default());
    let broker = start(|config| {
        config.server.tls = Some(ours.sign("localhost").config());
        config.server.admin_tls = Some(admins.sign("localhost").config());
    })
    .await;
    assert!(secure(broker.admin_addr(), &trust(&ours)).await.is_err(), "it is another certificate");
    let mut stream = secure(broker.admin_addr(), &trust(&admins)).await.expect("TLS");
    let metrics = get(&mut stream, "/metrics").await.expect("metrics");
    for listener in ["public", "admin"] {
        assert!(metrics.contains(&format!("{SUCCESSFUL}{{listener=\"{listener}\"}} 1")), "{metrics}");
    }
    let told = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await;
    assert_eq!((told.status, told.body.trim_end()), (400, "this port speaks TLS: use https:// or wss://"));
}

#[tokio::test]
async fn a_reload_takes_other_certificates_at_once_and_nothing_where_they_are_of_no_use() {
    let (old, new) = (Authority::default(), Authority::default());
    let next = Arc::new(Mutex::new(old.sign("localhost").config()));
    let source = Arc::clone(&next);
    let read = move || {
        let mut config = Config::for_tests();
        config.server.tls = Some(source.lock().expect("sound").clone());
        Ok(config)
    };
    let broker = Broker::start_from(Box::new(read)).await.expect("it starts");
    secure(broker.public_addr(), &trust(&old)).await.expect("TLS");

    *next.lock().expect("sound") = TlsConfig::of_files("no such file", "no such file");
    let error = broker.reload().await.expect_err("there is none").to_string();
    assert!(error.contains("server.tls.certificate_file: no such file cannot be read"), "{error}");
    secure(broker.public_addr(), &trust(&old)).await.expect("it is still in use");

    *next.lock().expect("sound") = new.sign("localhost").config();
    broker.reload().await.expect("it is good");
    secure(broker.public_addr(), &trust(&new)).await.expect("it is in use");
    assert!(secure(broker.public_addr(), &trust(&old)).await.is_err());
}
