//! What to do where TLS cannot begin.

use std::error::Error;
use std::io;

use fanfare_client::rustls::{self, AlertDescription, CertificateError};

/// The words of the library, which has no kind of its own for it.
const AUTHORITY_SHOWN: &str = "CaUsedAsEndEntity";

/// What may help where this error is one of TLS; it goes behind what the error says itself.
pub(crate) fn hint(error: &(dyn Error + 'static)) -> &'static str {
    let Some(error) = of_tls(error) else { return "" };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            " (nobody who is trusted has signed it: --ca-file FILE trusts the certificates of that file too)"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => " (the URL has to have a name that is in the certificate)",
        rustls::Error::InvalidCertificate(CertificateError::Other(why))
            if why.to_string().contains(AUTHORITY_SHOWN) =>
        {
            " (it is one of an authority, with CA:TRUE, as openssl req -x509 makes it, which no server may show: make it with \
             -addext basicConstraints=critical,CA:FALSE)"
        }
        rustls::Error::InvalidMessage(_) => " (does it speak TLS there?)",
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            " (who connects there has to show a certificate, which this command has none of)"
        }
        _ => "",
    }
}

/// The error of TLS among the causes.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // What is within an error of the system is none of its causes, but they are.
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = error.downcast_ref().or_else(|| within.and_then(|within| within.downcast_ref()));
        if found.is_some() {
            return found;
        }
        next = error.source();
    }
    None
}
