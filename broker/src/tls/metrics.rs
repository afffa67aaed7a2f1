//! What is counted of TLS, by listener.

use std::sync::Arc;

use prometheus::IntCounterVec;

use super::Tls;
use crate::metrics::Registry;
use crate::stream::Kind;

/// What the listeners that are secured count together.
#[derive(Debug)]
pub(crate) struct TlsMetrics {
    handshakes: IntCounterVec,
}

impl TlsMetrics {
    pub(crate) fn new(registry: &Registry, secured: Vec<Arc<Tls>>) -> Arc<Self> {
        let all: Arc<[Arc<Tls>]> = secured.into();
        let of = Arc::clone(&all);
        registry.read_gauges(
            "fanfare_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends to be valid, in seconds since 1970.",
            &["listener"],
            move |add| {
                for tls in &*of {
                    if let Some(at) = tls.expires_at() {
                        add(&[tls.listener()], at as f64);
                    }
                }
            },
        );
        registry.read_gauges(
            "fanfare_tls_last_reload_successful",
            "1 if the certificate files as they are now are in use, 0 if they could not be used and those before are.",
            &["listener"],
            move |add| {
                for tls in &*all {
                    add(&[tls.listener()], f64::from(u8::from(tls.is_current())));
                }
            },
        );
        let handshakes = registry.counters(
            "fanfare_tls_handshakes_total",
            "TLS handshakes that came to their end, by version, and whether they went on with earlier keys.",
            &["listener", "version", "kind"],
        );
        Arc::new(Self { handshakes })
    }

    /// A handshake came to its end.
    pub(crate) fn began(&self, listener: &str, (version, kind): Kind) {
        self.handshakes.with_label_values(&[listener, version, kind]).inc();
    }
}
