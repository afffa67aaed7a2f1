//! Where to fetch from, and whom to trust there.

use std::io;
use std::sync::{Arc, OnceLock};

use hyper::Uri;
use hyper::http::uri::Scheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// A URL to fetch from: `https://`, or `http://` on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    uri: Uri,
    /// Whom to trust, where it is not whom the operating system does.
    authorities: Option<Authorities>,
}

/// Certificate authorities.
#[derive(Debug, Clone)]
struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    config: Arc<ClientConfig>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        let certificates = |target: &Self| target.authorities.as_ref().map(|own| own.certificates.clone());
        self.uri == other.uri && certificates(self) == certificates(other)
    }
}

impl Eq for Target {}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is wrong, without quoting it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        if url.len() > URL_BYTES_MAX {
            return Err("is longer than 2048 bytes");
        }
        if url.contains('#') {
            return Err("may have no fragment (#)");
        }
        let uri: Uri = url.parse().map_err(|_| "is no URL")?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err("is no URL with https:// and a host");
        };
        if authority.as_str().contains('@') {
            return Err("may hold no user and no password");
        }
        // A port that is none is kept by the parser, and found by nobody.
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if authority.host().is_empty()
            || !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0)
        {
            return Err("has no host, or a port that is none");
        }
        let this = Self { uri: uri.clone(), authorities: None };
        ServerName::try_from(this.host()).map_err(|_| "has a host that is none")?;
        match scheme {
            scheme if *scheme == Scheme::HTTPS => Ok(this),
            scheme if *scheme != Scheme::HTTP => Err("is neither https:// nor http://"),
            _ if this.host() == "localhost" => Ok(this),
            _ if this.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) => Ok(this),
            _ => Err("may be http:// on this machine (a loopback address) alone, and https:// anywhere"),
        }
    }

    /// Trusts the certificate authorities of a file in PEM there, and nobody else.
    ///
    /// # Errors
    /// Says what is wrong.
    pub(crate) fn trusting(mut self, pem: &[u8]) -> Result<Self, &'static str> {
        if !self.is_secure() {
            return Err("is for https:// alone");
        }
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| "holds something else than certificates in PEM")?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|_| "holds a certificate that cannot be one of an authority")?;
        }
        if roots.is_empty() {
            return Err("holds no certificate in PEM");
        }
        let config = config(roots).map_err(|_| "cannot be used")?;
        self.authorities = Some(Authorities { certificates, config });
        Ok(self)
    }

    /// The host, for people too.
    pub(crate) fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    pub(super) fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    pub(super) fn is_secure(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// How to secure a connection there, and who is to be at its end; `None` where it is not to be secured.
    ///
    /// # Errors
    /// The system's certificate authorities cannot be read.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn tls(&self) -> io::Result<Option<(Arc<ClientConfig>, ServerName<'static>)>> {
        if !self.is_secure() {
            return Ok(None);
        }
        let name = ServerName::try_from(self.host().to_owned()).map_err(io::Error::other)?;
        let config = match &self.authorities {
            Some(own) => Arc::clone(&own.config),
            // It reads files, which may lie on a disk that stands still.
            None => tokio::task::spawn_blocking(of_system).await??,
        };
        Ok(Some((config, name)))
    }
}

/// Trusts whom the operating system trusts: administrators add their own there. Read once a process.
fn of_system() -> io::Result<Arc<ClientConfig>> {
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(io::Error::other("the system has no certificate authorities to trust"));
    }
    let made = config(roots).map_err(io::Error::other)?;
    Ok(Arc::clone(SYSTEM.get_or_init(|| made)))
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(Arc::new(
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_encrypted_or_stays_on_this_machine() {
        for (url, said) in [
            ("https://id.example.com/keys", None),
            ("https://id.example.com:8443/keys?tenant=a", None),
            ("https://192.0.2.1", None),
            ("https://[2001:db8::1]:443/keys", None),
            ("http://127.0.0.1:8080/keys", None),
            ("http://127.1.2.3/keys", None),
            ("http://localhost/keys", None),
            ("http://[::1]:1/keys", None),
            ("http://id.example.com/keys", Some("https:// anywhere")),
            ("http://localhost.example.com/keys", Some("https:// anywhere")),
            ("http://10.0.0.1/keys", Some("https:// anywhere")),
            ("http://0.0.0.0/keys", Some("https:// anywhere")),
            ("http://127.0.0.1@id.example.com/keys", Some("no user")),
            ("https://user:password@id.example.com/keys", Some("no user")),
            ("https://id.example.com/keys#1", Some("fragment")),
            ("https://id.example.com:70000/", Some("port")),
            ("https://id.example.com:0/", Some("port")),
            ("https:///keys", Some("")),
            ("ftp://id.example.com/keys", Some("neither")),
            ("file:///etc/passwd", Some("")),
            ("id.example.com", Some("is no URL")),
            ("/keys", Some("is no URL")),
            ("", Some("is no URL")),
            ("https://id.example.com/a b", Some("is no URL")),
            ("https://id.example.com/\r\nHost: x", Some("is no URL")),
        ] {
            match (Target::parse(url), said) {
                (Ok(_), None) => {}
                (Err(why), Some(said)) if why.contains(said) => {}
                (parsed, _) => panic!("{url}: {parsed:?}"),
            }
        }
    }

    #[test]
    fn what_holds_no_certificate_is_trusted_by_nobody() {
        let target = || Target::parse("https://id.example.com").expect("a URL");
        assert!(target().trusting(b"").unwrap_err().contains("no certificate"));
        assert!(
            target().trusting(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err()
        );
        let here = Target::parse("http://127.0.0.1").expect("a URL");
        assert!(here.trusting(b"").unwrap_err().contains("https:// alone"));
    }
}
