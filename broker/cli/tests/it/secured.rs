//! The program over TLS.

use serde_json::Value;

use crate::process::{Process, run};
use crate::temp_file::TempFile;

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
