//! Taking another configuration while everything runs. It must not know who asks for it.
//!
//! A configuration is read and checked as a whole first, and then counts as a whole; one that cannot be used changes
//! nothing. Who meets a setting reads it there (`Hub::config`), so there is nothing that could be forgotten here but what a
//! wing keeps of its own: budgets, limits and what topics keep (`Hub::reconfigure`).

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use prometheus::{Gauge, IntGauge};

use crate::access::Access;
use crate::access::admin::AdminTokens;
use crate::capacity::{NoCapacity, connections_max};
use crate::clock::unix_ms;
use crate::config::{Changes, Config, ConfigError};
use crate::hub::Hub;
use crate::machine;
use crate::metrics::Registry;
use crate::setting::InvalidSetting;
use crate::tls::Tls;

/// Where a configuration is read from, at the start and each time that it is to be read again. It may wait for a disk.
pub type ConfigSource = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Why the configuration was not read again. All is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The broker was started with a configuration, not with a place to read it from.
    #[error("this broker does not know where its configuration comes from")]
    NoSource,
    /// It is being read at this moment.
    #[error("the configuration is being read again already")]
    UnderWay,
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// It does not fit this process.
    #[error("{0}")]
    Capacity(String),
    /// What took it in has failed.
    #[error("reading the configuration again has failed")]
    Failed,
}

impl From<InvalidSetting> for ReloadError {
    fn from(why: InvalidSetting) -> Self {
        ConfigError::from(why).into()
    }
}

impl From<NoCapacity> for ReloadError {
    fn from(why: NoCapacity) -> Self {
        Self::Capacity(why.to_string())
    }
}

/// Reads the configuration again when it is told to, one after the other.
pub(crate) struct Reloader {
    hub: Arc<Hub>,
    source: Option<ConfigSource>,
    /// How the listeners are secured that are.
    secured: Vec<Arc<Tls>>,
    /// Files that the process may have open.
    open_files_max: Option<u64>,
    /// The configuration as it was read, before anything was derived; what it is compared with.
    read: Mutex<Config>,
    is_successful: IntGauge,
    succeeded_at: Gauge,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("has_source", &self.source.is_some()).finish_non_exhaustive()
    }
}

impl Reloader {
    /// What reads the configuration again from that source, and was `read` from it just now.
    pub(crate) fn new(
        hub: Arc<Hub>,
        source: Option<ConfigSource>,
        secured: Vec<Arc<Tls>>,
        open_files_max: Option<u64>,
        read: Config,
    ) -> Arc<Self> {
        let Metrics { is_successful, succeeded_at } = Metrics::new(&hub.registry);
        let this = Self {
            hub,
            source,
            secured,
            open_files_max,
            read: Mutex::new(read),
            is_successful,
            succeeded_at,
        };
        this.count(true);
        Arc::new(this)
    }

    /// Reads the configuration again; from then on it counts. Says what it changes.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed.
    ///
    /// # Cancel safety
    /// Dropped, it goes on by itself: a configuration counts as a whole or not at all.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<Changes, ReloadError> {
        let this = Arc::clone(self);
        // It reads files, which may lie on a disk that stands still.
        let reloaded = tokio::task::spawn_blocking(move || this.reload_here()).await;
        reloaded.unwrap_or_else(|_| {
            self.count(false);
            Err(ReloadError::Failed)
        })
    }

    fn reload_here(&self) -> Result<Changes, ReloadError> {
        let mut read = match self.read.try_lock() {
            Ok(read) => read,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            // Whoever reads says whether it succeeds.
            Err(TryLockError::WouldBlock) => return Err(ReloadError::UnderWay),
        };
        let changes = self.take_over(&mut read);
        self.count(changes.is_ok());
        match &changes {
            Ok(Changes { applied, needs_restart }) => {
                tracing::info!(?applied, "the configuration was read again");
                if !needs_restart.is_empty() {
                    tracing::warn!(keys = ?needs_restart, "these changes count after a restart alone");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the configuration was read again and cannot be used; all stays as it was");
            }
        }
        changes
    }

    fn take_over(&self, read: &mut Config) -> Result<Changes, ReloadError> {
        let new = self.source.as_ref().ok_or(ReloadError::NoSource)?()?;
        new.check()?;
        check_it_opens_nothing(read, &new)?;
        // What is secured after a restart alone is looked at too: that would not begin.
        new.server.check_files()?;
        let changes = Changes::between(read, &new);
        let new = new.within(read);
        let config = resolved(new.clone());
        config.check()?;
        let connections_max = connections_max(&config, self.open_files_max)?;
        let access = Access::new(config.access.as_ref(), &config.namespace)?;
        let admin = AdminTokens::new(&config.admin)?;
        let certificates =
            self.secured.iter().map(|tls| config.server.prepare(tls)).collect::<Result<Vec<_>, _>>()?;
        // From here on nothing can fail.
        for (tls, prepared) in self.secured.iter().zip(certificates) {
            tls.adopt(prepared);
        }
        self.hub.reconfigure(config, access, connections_max);
        self.hub.set_admin(admin);
        *read = new;
        Ok(changes)
    }

    fn count(&self, is_successful: bool) {
        self.is_successful.set(is_successful.into());
        if is_successful {
            self.succeeded_at.set(unix_ms() as f64 / 1000.0);
        }
    }
}

/// Refuses what lets in by a reload whoever was kept out: a file that is half-written, or empty for a moment, reads like that.
fn check_it_opens_nothing(old: &Config, new: &Config) -> Result<(), InvalidSetting> {
    let opens = |key: &str| {
        let why = "was configured, and is not there any more: a reload lets nobody in who was kept out; restart for that";
        Err(InvalidSetting::new(key, why))
    };
    if old.access.is_some() && new.access.is_none() {
        return opens("access");
    }
    if old.admin.has_tokens() && !new.admin.has_tokens() {
        return opens("admin");
    }
    Ok(())
}

/// The configuration with all that is derived from the machine.
pub(crate) fn resolved(mut config: Config) -> Config {
    let memory = machine::memory_bytes(Path::new("/"));
    config.memory = config.memory.resolved(memory, config.limits.message_size);
    config.limits = config.limits.resolved(memory);
    if let Some(warning) = config.memory.warning(memory) {
        tracing::warn!("{warning}");
    }
    config
}

/// Whether and when the configuration was last read.
struct Metrics {
    is_successful: IntGauge,
    succeeded_at: Gauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        Self {
            is_successful: registry.gauge(
                "fanfare_config_last_reload_successful",
                "1 where the configuration could be used when it was last read, else 0.",
            ),
            succeeded_at: registry.moment(
                "fanfare_config_last_reload_success_timestamp_seconds",
                "When the configuration was last read and could be used, in Unix seconds.",
            ),
        }
    }
}
