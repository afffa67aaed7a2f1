//! A running broker: listeners, workers, what looks after the topics, and how they stop.
//!
//! All threads and descriptors that a stop needs are there from the start: it may come because there are no more.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acceptor::Acceptor;
use crate::acceptor::accepting::Accepting;
use crate::acceptor::entrance::{self, Entrance};
use crate::access::admin::AdminTokens;
use crate::access::{Access, Authority, Revocation, RevocationError};
use crate::answer::Refusal;
use crate::budget::Budget;
use crate::budget::config::MemoryConfig;
use crate::capacity::{NoCapacity, connections_max, worker_count};
use crate::config::{Changes, Config, ConfigError, ServerConfig};
use crate::connection::metrics::ConnectionMetrics;
use crate::engine::{Engine, MemoryEngine};
use crate::heartbeat;
use crate::http::metrics::HttpMetrics;
use crate::http::secure::Security;
use crate::hub::Hub;
use crate::keys::{self, KeyMetrics};
use crate::namespaces::Namespaces;
use crate::reload::{ConfigSource, ReloadError, Reloader, resolved};
use crate::setting::InvalidSetting;
use crate::supervise::{restarted, vital, vital_thread};
use crate::tls::config::TlsConfig;
use crate::tls::metrics::TlsMetrics;
use crate::tls::{self, ADMIN_SECTION, PUBLIC_SECTION, Tls};
use crate::topic::table::TopicTable;
use crate::worker::Worker;
use crate::worker::moves::Moves;
use crate::workers::Workers;
use crate::{http, machine};

/// How often the topic table is asked for what is due.
const TEND: Duration = Duration::from_millis(250);

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Too few files may be open: how many may be, and how many are needed.
    #[error("{0}")]
    Files(String),
    /// An address cannot be listened on, or a thread not started.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<NoCapacity> for StartError {
    fn from(why: NoCapacity) -> Self {
        match why {
            NoCapacity::Files { .. } => Self::Files(why.to_string()),
            NoCapacity::Setting(why) => why.into(),
        }
    }
}

impl From<InvalidSetting> for StartError {
    fn from(why: InvalidSetting) -> Self {
        ConfigError::from(why).into()
    }
}

/// A running broker. Dropped, it stops without closing its connections in peace.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use fanfare::{Broker, Config};
///
/// let broker = Broker::start(Config::for_tests()).await?;
/// println!("ws://{}/ws", broker.public_addr());
/// broker.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    hub: Arc<Hub>,
    reloader: Arc<Reloader>,
    public_addr: SocketAddr,
    admin_addr: SocketAddr,
    open_files_max: Option<u64>,
    /// Stops accepting, and has the workers drain.
    drain: CancellationToken,
    /// Ends everything else.
    end: CancellationToken,
    tasks: TaskTracker,
    workers: Vec<WorkerThread>,
}

/// What lies above the hub, and all workers have in common: what they count, and the ways between them.
#[derive(Debug, Clone)]
struct Common {
    connections: Arc<ConnectionMetrics>,
    moves: Arc<Moves>,
    http: Arc<HttpMetrics>,
    /// What public connections are secured by, if they are.
    security: Option<Security>,
}

/// A worker's thread.
#[derive(Debug)]
struct WorkerThread {
    thread: JoinHandle<()>,
    /// Dropped at the thread's end, so that waiting for it takes no thread.
    ended: oneshot::Receiver<()>,
}

impl Broker {
    /// Binds the listeners and starts the workers.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    ///
    /// # Cancel safety
    /// Dropped half-way, what runs already ends.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Engine::Memory(MemoryEngine), Authority::Configured).await
    }

    /// Starts with the configuration of that source, from which it can be [read again](Self::reload).
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    ///
    /// # Cancel safety
    /// Dropped half-way, what runs already ends.
    pub async fn start_from(source: ConfigSource) -> Result<Self, StartError> {
        let config = source()?;
        Self::build(config, Some(source), Engine::Memory(MemoryEngine), Authority::Configured)
    }

    /// Starts with another engine, and another authority on who somebody is.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    #[doc(hidden)]
    pub async fn start_with(
        config: Config,
        engine: Engine,
        authority: Authority,
    ) -> Result<Self, StartError> {
        Self::build(config, None, engine, authority)
    }

    fn build(
        read: Config,
        source: Option<ConfigSource>,
        engine: Engine,
        authority: Authority,
    ) -> Result<Self, StartError> {
        read.check()?;
        let config = resolved(read.clone());
        let access = Access::new(config.access.as_ref(), &config.namespace)?.asking(authority);
        let admin_tokens = AdminTokens::new(&config.admin)?;
        let [tls, admin_tls] = prepare_tls(&config.server)?;
        let open_files_max = machine::raise_open_files_max();
        let connections_max = connections_max(&config, open_files_max)?;
        let send_buffer = config.limits.send_buffer.as_u64();
        let public = entrance::bind(config.server.listen, send_buffer)?;
        let admin = entrance::bind(config.server.admin_listen, send_buffer)?;
        let (public_addr, admin_addr) = (public.local_addr()?, admin.local_addr()?);

        let hub = build_hub(config, access, connections_max, engine);
        hub.set_admin(admin_tokens);
        let secured: Vec<_> = tls.iter().chain(&admin_tls).map(Arc::clone).collect();
        let tls_metrics = TlsMetrics::new(&hub.registry, secured.clone());
        let security = |tls: Option<Arc<Tls>>| tls.map(|tls| Security::new(&tls, &tls_metrics));
        let common = Common {
            connections: ConnectionMetrics::new(&hub.registry, hub.table.namespaces()),
            moves: Moves::new(&hub.registry, hub.workers.len()),
            http: HttpMetrics::new(&hub.registry),
            security: security(tls),
        };
        let accepting = Arc::default();
        let entrance = Entrance::new(
            public,
            Arc::clone(&accepting),
            Arc::clone(&common.http),
            common.security.is_some(),
        )?;
        let (drain, end, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let reloader = Reloader::new(Arc::clone(&hub), source, secured.clone(), open_files_max, read);
        let mut this = Self {
            hub,
            reloader,
            public_addr,
            admin_addr,
            open_files_max,
            drain,
            end,
            tasks,
            workers: Vec::new(),
        };
        for index in 0..this.worker_count() {
            let (hub, entrance, drain) = (Arc::clone(&this.hub), Arc::clone(&entrance), this.drain.clone());
            this.workers.push(start_worker(index, hub, common.clone(), entrance, drain)?);
        }
        this.start_tasks(admin, security(admin_tls), accepting, common.http);
        this.watch_certificates(secured);
        Ok(this)
    }

    /// Starts what runs beside the workers, each [supervised](crate::supervise).
    fn start_tasks(
        &self,
        admin: TcpListener,
        security: Option<Security>,
        accepting: Arc<Accepting>,
        metrics: Arc<HttpMetrics>,
    ) {
        let (hub, end) = (Arc::clone(&self.hub), self.end.clone());
        let (tasks, reloader) = (self.tasks.clone(), Arc::clone(&self.reloader));
        self.tasks.spawn(async move {
            let serve =
                || http::admin::run((&hub, &reloader, &metrics), &admin, security.as_ref(), &end, &tasks);
            restarted("admin", &hub.panics, &end, serve).await;
        });
        let (hub, end, fetches) = (Arc::clone(&self.hub), self.end.clone(), KeyMetrics::new(&self.hub));
        self.tasks.spawn(async move {
            restarted("keys", &hub.panics, &end, || keys::run(&hub, &fetches, &end)).await;
        });
        let (hub, end) = (Arc::clone(&self.hub), self.end.clone());
        self.tasks.spawn(async move { vital("topics", &end, tend(hub, end.clone())).await });
        let (hub, end) = (Arc::clone(&self.hub), self.end.clone());
        self.tasks.spawn(async move {
            vital("heartbeats", &end, async {
                end.run_until_cancelled(watch_heartbeats(&hub.workers, &accepting)).await;
            })
            .await;
        });
    }

    /// Has the certificates in use be those of their files.
    fn watch_certificates(&self, secured: Vec<Arc<Tls>>) {
        for tls in secured {
            let (hub, end) = (Arc::clone(&self.hub), self.end.clone());
            self.tasks.spawn(async move {
                let watch = || async {
                    end.run_until_cancelled(Arc::clone(&tls).watch()).await;
                };
                restarted("certificates", &hub.panics, &end, watch).await;
            });
        }
    }

    /// Where the public listener really listens.
    pub fn public_addr(&self) -> SocketAddr {
        self.public_addr
    }

    /// Where the admin listener really listens.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Topics that there may be.
    pub fn topics_max(&self) -> usize {
        self.hub.config().limits.topics
    }

    /// Connections that there may be.
    pub fn connections_max(&self) -> usize {
        self.hub.connections_max()
    }

    /// Files that the process may have open, after it has raised that as far as it may; `None` where the
    /// system does not say.
    pub fn open_files_max(&self) -> Option<u64> {
        self.open_files_max
    }

    /// The bounds of its memory, none of them 0.
    pub fn memory(&self) -> MemoryConfig {
        self.hub.config().memory.clone()
    }

    /// Whether anybody may do everything.
    pub fn is_open(&self) -> bool {
        self.hub.access().is_open()
    }

    /// Whether the public listener speaks TLS, and the admin listener.
    pub fn is_secured(&self) -> [bool; 2] {
        let config = self.hub.config();
        [config.server.tls.is_some(), config.server.admin_tls.is_some()]
    }

    /// Threads that own connections.
    pub fn worker_count(&self) -> usize {
        self.hub.workers.len()
    }

    /// Bytes that publications and message ids take now, as the budget counts them.
    pub fn retained_bytes(&self) -> usize {
        self.hub.table.budget().used()
    }

    /// Connections open now, HTTP ones included.
    pub fn connections(&self) -> usize {
        self.hub.connections.load(Ordering::Relaxed)
    }

    /// Reads the configuration again from where it [came from](Self::start_from): everything of it counts from then on but
    /// the listeners, the workers and the set of namespaces. What is there and would not fit any more stays.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed.
    ///
    /// # Cancel safety
    /// Dropped, it goes on by itself: a configuration counts as a whole or not at all.
    pub async fn reload(&self) -> Result<Changes, ReloadError> {
        self.reloader.reload().await
    }

    /// The engine.
    #[doc(hidden)]
    pub fn engine(&self) -> &Engine {
        self.hub.engine()
    }

    /// Questions that wait for their answers.
    #[doc(hidden)]
    pub fn unanswered(&self) -> usize {
        self.hub.workers.iter().map(|worker| worker.inbox.waiting()).sum()
    }

    /// Revokes credentials until the process ends: nobody is admitted with them any more, and whoever was is closed with
    /// 4401 at once: nothing more is written to them of any topic, and nothing that waits of theirs is carried out.
    ///
    /// # Errors
    /// [`RevocationError`]: nothing was revoked.
    pub fn revoke(&self, revocation: &Revocation) -> Result<(), RevocationError> {
        self.hub.revoke(revocation)
    }

    /// WebSockets of a user, as the workers count them one after the other.
    ///
    /// # Errors
    /// [`Refusal`]: too many ask, or a worker did not answer in time.
    #[doc(hidden)]
    pub async fn connections_of(&self, user: &str) -> Result<usize, Refusal> {
        let user: Arc<str> = user.into();
        let mut count = 0;
        for worker in &*self.hub.workers {
            count += worker.inbox.count(Arc::clone(&user)).await?;
        }
        Ok(count)
    }

    /// Stops in peace: no new connections, every connection closed with 1012 over the drain window after
    /// what was acknowledged is delivered. Returns when everything has ended.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped half-way, connections are cut.
    pub async fn stop(mut self) {
        self.hub.start_draining();
        self.drain.cancel();
        for WorkerThread { thread, ended } in std::mem::take(&mut self.workers) {
            // Nothing is sent: the other end is dropped with the thread's last breath, which it does not outlive
            // by more than a moment.
            drop(ended.await);
            drop(thread.join());
        }
        self.end.cancel();
        self.tasks.close();
        // An operator's open connection to the admin listener must not delay the stop.
        drop(tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.hub.start_draining();
        self.drain.cancel();
        self.end.cancel();
    }
}

/// What the listeners are secured by that are: the public one, and the admin one.
fn prepare_tls(server: &ServerConfig) -> Result<[Option<Arc<Tls>>; 2], InvalidSetting> {
    let prepared = |listener, section, config: &Option<TlsConfig>| {
        let prepared = config.as_ref().map(|config| tls::prepare(config, section)).transpose()?;
        Ok(prepared.map(|prepared| Tls::new(listener, prepared)))
    };
    Ok([
        prepared("public", PUBLIC_SECTION, &server.tls)?,
        prepared("admin", ADMIN_SECTION, &server.admin_tls)?,
    ])
}

/// What all workers share. Nothing runs yet.
pub(crate) fn build_hub(config: Config, access: Access, connections_max: usize, engine: Engine) -> Arc<Hub> {
    let worker_count = worker_count(&config);
    let budget = Budget::new(config.memory.retained.as_u64() as usize);
    let namespaces = Namespaces::new(&config.namespace);
    let workers = Workers::new(worker_count, &namespaces);
    let table = TopicTable::new(
        namespaces,
        budget,
        config.limits.topics,
        config.limits.topics_per_user,
        worker_count,
    );
    let hub = Arc::new(Hub::new(config, access, table, workers, connections_max, engine));
    hub.attach_engine();
    hub
}

fn start_worker(
    index: usize,
    hub: Arc<Hub>,
    common: Common,
    entrance: Arc<Entrance>,
    drain: CancellationToken,
) -> std::io::Result<WorkerThread> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ending, ended) = oneshot::channel();
    // The kernel keeps 15 bytes of a name.
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        vital_thread("worker", &drain.clone(), || {
            let local = LocalSet::new();
            let public = http::Public::new(&hub, index, common.http, common.security);
            local.block_on(&runtime, async move {
                let worker = Worker::new(index, Arc::clone(&hub), common.connections, common.moves);
                let (tasks, stop) = (worker.tasks.clone(), drain.clone());
                let (of_acceptor, doors) = (Rc::clone(&worker), Arc::clone(&public));
                let acceptor = Acceptor { entrance, worker: of_acceptor, public: doors, stop };
                tasks.spawn_local(accept(acceptor));
                worker.run(drain, public).await;
            });
        });
        drop(ending);
    })?;
    Ok(WorkerThread { thread, ended })
}

/// Accepts until it is to stop, whatever happens on the way.
async fn accept(acceptor: Acceptor) {
    let panics = &acceptor.worker.hub.panics;
    restarted("acceptor", panics, &acceptor.stop, || acceptor.run()).await;
}

/// Looks at the workers' heartbeats, for ever, and has those accept who run.
async fn watch_heartbeats(workers: &Workers, accepting: &Accepting) {
    let mut looks = tokio::time::interval(heartbeat::LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        workers.iter().for_each(|worker| worker.heartbeat.look());
        accepting.follow(workers);
    }
}

/// Forgets what has outlived its time in the topic table, when it is due.
async fn tend(hub: Arc<Hub>, end: CancellationToken) {
    let mut ticks = tokio::time::interval(TEND);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let tend = async {
        loop {
            ticks.tick().await;
            hub.table.tend().await;
        }
    };
    // Between two ticks an idle table costs nothing, and a tick looks at what is due alone.
    end.run_until_cancelled(tend).await;
}
