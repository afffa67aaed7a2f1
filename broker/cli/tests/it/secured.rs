//! The program over TLS.

use std::net::SocketAddr;

use fanfare_harness::tls::{Authority, Identity};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::Value;

use crate::process::{Process, run};
use crate::temp_file::TempFile;

/// A configuration with that certificate for a listener, and the files that it names.
fn secured(section: &str, identity: &Identity, more: &str) -> [TempFile; 3] {
    let (certificate, key) = (TempFile::new(&identity.certificate), TempFile::new(&identity.key));
    let config = TempFile::new(&format!(
        "{more}\n[server.{section}]\ncertificate_file = {:?}\nkey_file = {:?}\n",
        certificate.path(),
        key.path()
    ));
    [config, certificate, key]
}

/// Where a listener is that has a certificate for this machine's own name.
fn by_name(scheme: &str, listener: SocketAddr) -> String {
    format!("{scheme}://localhost:{}", listener.port())
}

#[tokio::test]
async fn a_self_signed_broker_is_reached_by_whoever_has_its_certificate_alone() {
    let certificate = TempFile::new("");
    let broker = Process::start(&[&format!("--tls-self-signed={}", certificate.path())]).await;
    let url = format!("wss://localhost:{}/ws", broker.public.port());
    let publish = ["pub", "--url", &url, "--connect-timeout", "3s", "t", "hello"];
    let trusting = run(&[&publish[..], &["--ca-file", certificate.path()]].concat()).await;
    assert_eq!(trusting.code, Some(0), "{trusting:?}");
    assert_eq!(trusting.json_lines()[0]["offset"], 1, "{trusting:?}");
    let strange = run(&publish).await;
    assert_eq!(strange.code, Some(1));
    assert!(strange.stderr.contains("TLS"), "{strange:?}");

    let log = broker.log();
    let said = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let said: Vec<_> = said.filter_map(|line| Some(line["fields"]["sha256"].as_str()?.to_owned())).collect();
    assert_eq!(said.len(), 1, "{log}");
    assert_eq!(said[0].split(':').count(), 32, "{said:?}");
    let file = std::fs::read_to_string(certificate.path()).expect("it was written");
    assert!(file.contains("BEGIN CERTIFICATE") && !file.contains("KEY"), "{file}");
    assert!(!log.contains("KEY"), "{log}");
}

#[tokio::test]
async fn a_check_of_the_configuration_looks_at_the_files_that_it_names() {
    let config = TempFile::new("[server.tls]\ncertificate_file = \"none.crt\"\nkey_file = \"none.key\"\n");
    for args in [vec!["config", "check", config.path()], vec!["serve", "--config", config.path()]] {
        let checked = run(&args).await;
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(
            checked.stderr.contains("server.tls.certificate_file: none.crt cannot be read"),
            "{checked:?}"
        );
    }
}

#[tokio::test]
async fn an_operator_asks_a_secured_listener_by_a_certificate_that_is_trusted_alone() {
    let authority = Authority::default();
    let trusted = TempFile::new(&authority.pem());
    let [config, ..] = &secured("admin_tls", &authority.sign("localhost"), "");
    let broker = Process::start(&["--config", config.path()]).await;
    let url = by_name("https", broker.admin);
    for ask in [&["admin", "users"][..], &["admin", "reload"], &["top", "--once"]] {
        let ask = [ask, &["--url", &url]].concat();
        let trusting = run(&[&ask[..], &["--ca-file", trusted.path()]].concat()).await;
        assert_eq!((trusting.code, &*trusting.stderr), (Some(0), ""), "{trusting:?}");
        let strange = run(&ask).await;
        assert_eq!((strange.code, &*strange.stdout), (Some(1), ""), "{strange:?}");
        let said = format!("fanfare: {url} cannot be reached: TLS: invalid peer certificate: ");
        assert!(strange.stderr.starts_with(&said) && strange.stderr.contains("--ca-file"), "{strange:?}");
    }
}

#[tokio::test]
async fn what_keeps_tls_from_beginning_is_said_with_what_may_help() {
    let authority = Authority::default();
    let trusted = TempFile::new(&authority.pem());
    let [config, ..] = &secured("admin_tls", &authority.sign("localhost"), "");
    let broker = Process::start(&["--config", config.path()]).await;
    let plain = by_name("http", broker.admin);
    let (by_address, of_public) = (format!("https://{}", broker.admin), by_name("https", broker.public));
    for (url, file, said) in [
        (&*by_address, trusted.path(), "a name that is in the certificate"),
        (&*of_public, trusted.path(), "does it speak TLS there?"),
        (&*plain, trusted.path(), "400: "),
        (&*plain.replace("http", "https"), "/nowhere/at/all", "/nowhere/at/all"),
        (&*plain.replace("http", "https"), config.path(), "holds no certificate in PEM form"),
    ] {
        let refused = run(&["admin", "users", "--url", url, "--ca-file", file]).await;
        assert_eq!((refused.code, &*refused.stdout), (Some(1), ""), "{refused:?}");
        assert!(refused.stderr.contains(said), "{said}: {refused:?}");
    }
}

#[tokio::test]
async fn a_listener_that_asks_for_certificates_of_clients_is_named_as_such() {
    let authority = Authority::default();
    let trusted = TempFile::new(&authority.pem());
    let identity = authority.sign("localhost");
    let (certificate, key) = (TempFile::new(&identity.certificate), TempFile::new(&identity.key));
    let config = TempFile::new(&format!(
        "[server.admin_tls]\ncertificate_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\n",
        certificate.path(),
        key.path(),
        trusted.path()
    ));
    let broker = Process::start(&["--config", config.path()]).await;
    let url = by_name("https", broker.admin);
    let refused = run(&["admin", "users", "--url", &url, "--ca-file", trusted.path()]).await;
    assert_eq!((refused.code, &*refused.stdout), (Some(1), ""), "{refused:?}");
    assert!(refused.stderr.contains("has to show a certificate"), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_shows_the_certificate_of_an_authority_is_refused_with_how_to_make_another() {
    // As `openssl req -x509` makes one.
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let identity = Identity { certificate, key: key.serialize_pem() };
    let [config, certificate, _] = &secured("tls", &identity, "");
    let both = std::fs::read_to_string(config.path()).expect("it is there");
    std::fs::write(config.path(), format!("{both}{}", both.replace("[server.tls]", "[server.admin_tls]")))
        .expect("it can be written");
    let broker = Process::start(&["--config", config.path()]).await;
    let (public, admin) = (by_name("wss", broker.public), by_name("https", broker.admin));
    for ask in [
        vec!["pub", "--connect-timeout", "1s", "--url", &public, "t", "hello"],
        vec!["admin", "users", "--url", &admin],
    ] {
        let refused = run(&[&ask[..], &["--ca-file", certificate.path()]].concat()).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("basicConstraints=critical,CA:FALSE"), "{refused:?}");
    }
}
