//! A proxy that cuts the connections through it, each after a number of bytes.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, select};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Each way would be cut after 2^4 to 2^19 bytes, as often between 16 and 32 as between 256 Ki and 512 Ki. The handshake
/// ends before 2^9. A page of history has less than 2^18, and a client must come to what it is owed between the cuts.
const BYTES_LOG2: std::ops::Range<f64> = 4.0..19.0;

/// How a connection is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// Both ends see it closed in good order.
    Closed,
    /// Both ends see it reset.
    Reset,
    /// One way ends; the other one goes on for a while, and what comes by it has no answer.
    OneSided,
}

/// Where the bytes went that were counted.
#[derive(Debug, Clone, Copy)]
enum Way {
    ToBroker,
    ToClient,
}

/// How many cuts were made, by [`Way`] and [`Manner`].
type Made = [[usize; 3]; 2];

fn sum(made: &Made) -> usize {
    made.as_flattened().iter().sum()
}

/// How many cuts there are to be, and how many there were.
#[derive(Debug)]
pub(crate) struct Cuts {
    pub(crate) planned: usize,
    made: watch::Sender<Made>,
}

impl Cuts {
    pub(crate) fn planned(planned: usize) -> Arc<Self> {
        Arc::new(Self { planned, made: watch::Sender::default() })
    }

    pub(crate) fn made(&self) -> Made {
        *self.made.borrow()
    }

    pub(crate) fn are_over(&self) -> bool {
        sum(&self.made()) == self.planned
    }

    /// Waits until so many were made.
    pub(crate) async fn reach(&self, count: usize) {
        let mut made = self.made.subscribe();
        made.wait_for(|made| sum(made) >= count).await.expect("the sender is there");
    }

    /// Whether there is to be one more, which is counted then.
    fn claim(&self, way: Way, manner: Manner) -> bool {
        self.made.send_if_modified(|made| {
            let is_one_more = sum(made) < self.planned;
            made[way as usize][manner as usize] += usize::from(is_one_more);
            is_one_more
        })
    }
}

/// What is to become of one connection.
#[derive(Debug, Clone, Copy)]
struct Plan {
    manner: Manner,
    /// The bytes of each [`Way`]: as soon as one has carried as many the connection is cut.
    bytes: [u64; 2],
    /// How long an end that does not know of the cut is left alone.
    linger: Duration,
}

impl Plan {
    fn draw(random: &mut StdRng) -> Self {
        let manner = [Manner::Closed, Manner::Reset, Manner::OneSided][random.random_range(0..3)];
        let bytes = [(); 2].map(|()| random.random_range(BYTES_LOG2).exp2() as u64);
        Self { manner, bytes, linger: Duration::from_millis(random.random_range(1..=200)) }
    }
}

pub(crate) struct Cutter {
    addr: SocketAddr,
    _lines: JoinSet<()>,
}

impl Cutter {
    /// From an address of its own to where the broker is at that moment, as long as `cuts` are left with a cut for
    /// each connection.
    pub(crate) async fn lay(broker: watch::Receiver<SocketAddr>, cuts: Arc<Cuts>, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let mut random = StdRng::seed_from_u64(seed);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let plan = Plan::draw(&mut random);
                let (broker, cuts) = (*broker.borrow(), Arc::clone(&cuts));
                lines.spawn(async move {
                    // Whatever fails here is one more way for a connection to end.
                    drop(carry(near, broker, plan, &cuts).await);
                });
                while lines.try_join_next().is_some() {}
            }
        });
        Self { addr, _lines: accepting }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn carry(mut near: TcpStream, broker: SocketAddr, plan: Plan, cuts: &Cuts) -> io::Result<()> {
    let mut far = TcpStream::connect(broker).await?;
    // Without that every small frame waits for the acknowledgement of the last one.
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    {
        let (from_client, to_client) = near.split();
        let (from_broker, to_broker) = far.split();
        let there = pin!(pump(from_client, to_broker, Way::ToBroker, plan, cuts));
        let back = pin!(pump(from_broker, to_client, Way::ToClient, plan, cuts));
        let (is_cut, other_way) = select(there, back).await.factor_first();
        match (is_cut?, plan.manner) {
            (false, _) => return other_way.await.map(drop),
            (true, Manner::OneSided) => return timeout(plan.linger, other_way).await?.map(drop),
            (true, Manner::Closed | Manner::Reset) => {}
        }
    }
    if matches!(plan.manner, Manner::Reset) {
        near.set_zero_linger()?;
        return far.set_zero_linger();
    }
    near.shutdown().await?;
    far.shutdown().await?;
    // What was not read when a socket is dropped would make a reset of it.
    let (mut near_end, mut far_end) = (sink(), sink());
    let ends = join(copy(&mut near, &mut near_end), copy(&mut far, &mut far_end));
    timeout(plan.linger, ends).await.map(drop).map_err(Into::into)
}

/// Carries one way to its end; returns whether that is a cut.
async fn pump(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    plan: Plan,
    cuts: &Cuts,
) -> io::Result<bool> {
    let bytes = plan.bytes[way as usize];
    let mut from = from.take(bytes);
    let is_cut = copy(&mut from, &mut to).await? == bytes && cuts.claim(way, plan.manner);
    if !is_cut {
        from.set_limit(u64::MAX);
        copy(&mut from, &mut to).await?;
    }
    if !is_cut || matches!(plan.manner, Manner::OneSided) {
        to.shutdown().await?;
    }
    Ok(is_cut)
}
