//! A network that fails when a test says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A TCP proxy to a broker. Dropped, it cuts its connections.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    network: Arc<Network>,
    cuts: watch::Sender<()>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Network {
    is_mute: AtomicBool,
    /// Bytes of the broker that were kept back.
    swallowed: AtomicUsize,
}

impl Proxy {
    /// A proxy to the broker at that address.
    pub async fn start(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let network = Arc::new(Network::default());
        let (cuts, is_cut) = watch::channel(());
        let mut accepting = JoinSet::new();
        let shared = Arc::clone(&network);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((peer, _)) = listener.accept().await {
                let (network, mut is_cut) = (Arc::clone(&shared), is_cut.clone());
                is_cut.mark_unchanged();
                connections.spawn(async move {
                    tokio::select! {
                        () = forward(peer, broker, &network) => {}
                        _ = is_cut.changed() => {}
                    }
                });
            }
        });
        Self { address, network, cuts, _accepting: accepting }
    }

    /// Where a client finds the broker behind it.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// Sets whether nothing that the broker says gets through from now on.
    pub fn mute(&self, is_mute: bool) {
        self.network.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// How many bytes of the broker did not get through.
    pub fn swallowed(&self) -> usize {
        self.network.swallowed.load(Ordering::SeqCst)
    }
}

async fn forward(peer: TcpStream, broker: SocketAddr, network: &Network) {
    let Ok(broker) = TcpStream::connect(broker).await else { return };
    let (from_peer, to_peer) = peer.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let nothing = Network::default();
    tokio::select! {
        () = copy(from_peer, to_broker, &nothing) => {}
        () = copy(from_broker, to_peer, network) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, network: &Network) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if network.is_mute.load(Ordering::SeqCst) {
            network.swallowed.fetch_add(count, Ordering::SeqCst);
        } else if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
