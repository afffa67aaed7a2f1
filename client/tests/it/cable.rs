//! A cable between client and broker that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) struct Cable {
    addr: SocketAddr,
    cuts: watch::Sender<u64>,
    _pump: JoinSet<()>,
}

impl Cable {
    /// From an address of its own to `broker`.
    pub(crate) async fn lay(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let (cuts, cut) = watch::channel(0);
        let mut pump = JoinSet::new();
        pump.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(carry(near, broker, cut.clone()));
                while lines.try_join_next().is_some() {}
            }
        });
        Self { addr, cuts, _pump: pump }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Breaks every connection there is; new ones are carried as before.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut near: TcpStream, broker: SocketAddr, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let Ok(mut far) = TcpStream::connect(broker).await else { return };
    // Without that every small frame waits for the acknowledgement of the last one.
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = cut.changed() => {}
    }
}
