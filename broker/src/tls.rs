//! How a listener is secured: certificate and key, and that they are read again when their files change.
//!
//! It must not know a socket: whoever accepts one asks for what is to be used now, and a connection that has begun keeps what
//! it began with.

pub(crate) mod config;
mod material;
pub(crate) mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use crate::setting::InvalidSetting;
use config::TlsConfig;
use material::{Fingerprint, Loaded, Material};

/// How often the files are looked at. A change counts when two looks in a row have found the same, so that nobody reads a
/// certificate whose key is yet to be written.
const LOOK: Duration = Duration::from_secs(2);

/// How the keys begin by which the public listener is secured, ...
pub(crate) const PUBLIC_SECTION: &str = "server.tls";
/// ... and those for the admin listener.
pub(crate) const ADMIN_SECTION: &str = "server.admin_tls";

/// How one listener is secured.
#[derive(Debug)]
pub(crate) struct Tls {
    /// `public` or `admin`.
    listener: &'static str,
    config: ArcSwap<TlsConfig>,
    server: ArcSwap<ServerConfig>,
    /// When the certificate in use ends to be valid, in seconds since 1970; 0 where that is not known.
    expires_at: AtomicU64,
    /// Whether what is in the files is what is in use.
    is_current: AtomicBool,
    /// What was found in the files when they were last used, or found to be of no use; `None` where they were gone, so that
    /// what comes back counts as new, though it is what is in use.
    tried: ArcSwap<Option<Fingerprint>>,
}

/// What was read and checked, and may be used from now on.
#[derive(Debug)]
pub(crate) struct Prepared {
    config: TlsConfig,
    fingerprint: Fingerprint,
    loaded: Loaded,
}

/// Reads and checks what the configuration names. `section` is how its keys begin.
///
/// # Errors
/// Names the key whose file is of no use.
pub(crate) fn prepare(config: &TlsConfig, section: &str) -> Result<Prepared, InvalidSetting> {
    config.check(section)?;
    let material = Material::read(config, section)?;
    let loaded = material.load(config, section)?;
    Ok(Prepared { config: config.clone(), fingerprint: material.fingerprint(), loaded })
}

impl Tls {
    /// A listener, `public` or `admin`, that is secured so from the start.
    pub(crate) fn new(listener: &'static str, prepared: Prepared) -> Arc<Self> {
        let Prepared { config, fingerprint, loaded } = prepared;
        if let Some(warning) = loaded.warning {
            tracing::warn!(listener, "{warning}");
        }
        Arc::new(Self {
            listener,
            config: ArcSwap::from_pointee(config),
            server: ArcSwap::new(loaded.server),
            expires_at: AtomicU64::new(loaded.expires_at.unwrap_or(0)),
            is_current: AtomicBool::new(true),
            tried: ArcSwap::from_pointee(Some(fingerprint)),
        })
    }

    /// `public` or `admin`.
    pub(crate) fn listener(&self) -> &'static str {
        self.listener
    }

    /// How the keys begin by which it is configured.
    pub(crate) fn section(&self) -> &'static str {
        if self.listener == "admin" { ADMIN_SECTION } else { PUBLIC_SECTION }
    }

    /// What a connection that begins now is secured by.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.load_full()
    }

    pub(crate) fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at.load(Ordering::Relaxed)).filter(|&at| at > 0)
    }

    pub(crate) fn is_current(&self) -> bool {
        self.is_current.load(Ordering::Relaxed)
    }

    /// Uses from now on what was prepared. Connections that have begun go on as they are.
    pub(crate) fn adopt(&self, prepared: Prepared) {
        let Prepared { config, fingerprint, loaded } = prepared;
        if Some(fingerprint) == **self.tried.load() && self.is_current() && config == **self.config.load() {
            return;
        }
        let Loaded { server, expires_at, warning } = loaded;
        self.config.store(Arc::new(config));
        self.server.store(server);
        self.expires_at.store(expires_at.unwrap_or(0), Ordering::Relaxed);
        self.tried.store(Arc::new(Some(fingerprint)));
        self.is_current.store(true, Ordering::Relaxed);
        let listener = self.listener;
        match warning {
            Some(warning) => tracing::warn!(listener, "new certificate: {warning}"),
            None => tracing::info!(listener, expires_at, "new certificate"),
        }
    }

    /// Reads the files again, by the configuration as it is. Blocks while they are read.
    ///
    /// # Errors
    /// Names the key whose file is of no use: what was in use stays so.
    pub(crate) fn reload(&self) -> Result<(), InvalidSetting> {
        match prepare(&self.config.load(), self.section()) {
            Ok(prepared) => {
                self.adopt(prepared);
                Ok(())
            }
            Err(why) => {
                self.is_current.store(false, Ordering::Relaxed);
                Err(why)
            }
        }
    }

    /// What is in the files now; `None` where they cannot be read. Blocks meanwhile.
    fn look(&self) -> Option<Fingerprint> {
        let material = Material::read(&self.config.load(), self.section());
        material.map(|material| material.fingerprint()).ok()
    }

    /// Looks at the files, for ever, and uses what is new in them. A file that is gone or broken changes nothing.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut before = **self.tried.load();
        loop {
            tokio::time::sleep(LOOK).await;
            let this = Arc::clone(&self);
            let seen = before;
            // On a thread of its own: a disk that stands still must hold nobody up. There is one such look at a time.
            let looked = tokio::task::spawn_blocking(move || {
                let found = this.look();
                let is_new = found.is_none() || found != **this.tried.load();
                if is_new && found == seen {
                    this.try_anew(found);
                }
                found
            });
            if let Ok(found) = looked.await {
                before = found;
            }
        }
    }

    /// Uses what is in the files since a while, or says once why it does not.
    fn try_anew(&self, found: Option<Fingerprint>) {
        let was_current = self.is_current();
        let Err(error) = self.reload() else { return };
        let is_said = found.is_none() && !was_current;
        self.tried.store(Arc::new(found));
        if !is_said {
            let listener = self.listener;
            tracing::error!(listener, %error, "the certificate files have changed and cannot be used; the certificate before is still in use");
        }
    }
}
