//! Addresses, threads, start and stop: the section `server`.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::forwarded::ForwardedHeader;
use crate::address::networks::Network;
use crate::origin::AllowedOrigin;
use crate::setting::InvalidSetting;
use crate::tls::config::TlsConfig;
use crate::tls::{self, ADMIN_SECTION, PUBLIC_SECTION, Prepared, Tls};

/// Workers that there may be: more than any machine has cores.
const WORKERS_MAX: usize = 1024;

/// Addresses, threads, start and stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The public listener; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The admin listener; port 0 picks a free one.
    pub admin_listen: SocketAddr,
    /// Threads that own connections; 0 means one per core.
    pub workers: usize,
    /// Over how long connections are closed at a stop.
    #[serde(with = "humantime_serde")]
    pub drain_window: Duration,
    /// Origins of web pages that may connect, beside the broker's own host and loopback.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Networks of proxies that are believed who asked them.
    pub trusted_proxies: Vec<Network>,
    /// Whether these begin each connection with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The header by which these say who asked them.
    pub forwarded_header: ForwardedHeader,
    /// Start on a public address although no access is configured.
    pub insecure_open: bool,
    /// How the public listener is secured; absent, it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// How the admin listener is secured; absent, it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_tls: Option<TlsConfig>,
    /// What tests want otherwise.
    #[doc(hidden)]
    #[serde(skip)]
    pub testing: Testing,
}

/// How connections lie and move where a test wants it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Testing {
    /// The pause after which every connection moves to another worker, again and again.
    pub shuffle: Option<Duration>,
    /// Sockets go to the worker with the fewest, as if all were busy, and nobody gathers.
    pub spread: bool,
    /// Nobody is brought to the others of its topics.
    pub apart: bool,
    /// The shares of a core that workers have, whatever they do.
    pub shares: Option<Shares>,
    /// When key sets are fetched.
    pub jwks: Option<JwksTimes>,
}

/// When key sets are fetched.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JwksTimes {
    /// How long after the last time that it succeeded.
    pub interval: Duration,
    /// How long after it was begun last at the earliest, where a token names a key that is not there.
    pub pause: Duration,
    /// How long after it failed for the first time.
    pub retry: Duration,
    /// How long it may take.
    pub timeout: Duration,
}

impl Default for JwksTimes {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5 * 60),
            pause: Duration::from_secs(30),
            retry: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
        }
    }
}

/// The share of a core that each worker has.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Shares(pub fn(usize) -> f64);

impl PartialEq for Shares {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8001)),
            workers: 0,
            drain_window: Duration::from_secs(5),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            forwarded_header: ForwardedHeader::default(),
            insecure_open: false,
            tls: None,
            admin_tls: None,
            testing: Testing::default(),
        }
    }
}

impl ServerConfig {
    /// `has_access` says whether it is configured who may do what.
    ///
    /// # Errors
    /// Names what does not fit together.
    pub(super) fn check(&self, has_access: bool) -> Result<(), InvalidSetting> {
        if self.workers > WORKERS_MAX {
            let why = format!("expected 0 to {WORKERS_MAX}");
            return Err(InvalidSetting::new("server.workers", why));
        }
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            let why = "is expected from server.trusted_proxies alone, of which there are none";
            return Err(InvalidSetting::new("server.proxy_protocol", why));
        }
        for (section, tls) in self.tls_sections() {
            tls.check(section)?;
        }
        self.check_listeners()?;
        self.check_exposure(has_access)
    }

    /// Checks that the files it names can be used, as a start does.
    ///
    /// # Errors
    /// Names the key whose file is of no use.
    pub fn check_files(&self) -> Result<(), InvalidSetting> {
        self.tls_sections().try_for_each(|(section, tls)| tls::prepare(tls, section).map(drop))
    }

    /// Reads and checks what a listener is to be secured by that is.
    ///
    /// # Errors
    /// Names the key whose file is of no use.
    pub(crate) fn prepare(&self, tls: &Tls) -> Result<Prepared, InvalidSetting> {
        let found = self.tls_sections().find(|(section, _)| *section == tls.section());
        let (section, config) = found.expect("whether it is secured does not change");
        tls::prepare(config, section)
    }

    /// How the listeners are secured that are.
    fn tls_sections(&self) -> impl Iterator<Item = (&'static str, &TlsConfig)> {
        let sections = [(PUBLIC_SECTION, &self.tls), (ADMIN_SECTION, &self.admin_tls)];
        sections.into_iter().filter_map(|(section, tls)| Some((section, tls.as_ref()?)))
    }

    /// Two listeners cannot share an address, and the second to bind would be the one that says so.
    fn check_listeners(&self) -> Result<(), InvalidSetting> {
        let (public, admin) = (self.listen, self.admin_listen);
        let is_same_host =
            public.ip() == admin.ip() || public.ip().is_unspecified() || admin.ip().is_unspecified();
        if public.port() == 0 || public.port() != admin.port() || !is_same_host {
            return Ok(());
        }
        let why = format!("{admin} is the address of server.listen too: it needs a port of its own");
        Err(InvalidSetting::new("server.admin_listen", why))
    }

    /// A default must not let strangers in from the network.
    fn check_exposure(&self, has_access: bool) -> Result<(), InvalidSetting> {
        let listen = self.listen;
        if listen.ip().is_loopback() || has_access || self.insecure_open {
            return Ok(());
        }
        let why = format!(
            "{listen} can be reached from the network, and without an [access] section anybody there may \
             subscribe and publish; configure access, listen on 127.0.0.1, or say --insecure-open"
        );
        Err(InvalidSetting::new("server.listen", why))
    }
}
