//! The handle: cheap to clone, safe to share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::history::HistoryRequest;
use super::into_topic::{IntoTopic, checked};
use super::link::Link;
use super::options::ConnectOptions;
use super::publish::PublishRequest;
use super::shared::Shared;
use super::subscription::SubscribeRequest;
use super::subscriptions::SubscribeManyRequest;
use crate::channel::{Backlog, Command, Departures, Drain, PublishPermits, Reply};
use crate::deadline;
use crate::driver::{Driver, Inbox};
use crate::error::Error;
use crate::payload::Payload;
use crate::state::{CloseReason, ConnectionState, StateChanges};
use crate::statistics::Statistics;
use crate::transport::Endpoint;

/// Most commands that wait for the driver; publishes are bounded on their own.
const COMMANDS_MAX: usize = 256;

/// A connection to a broker that keeps itself up; clones share it.
///
/// A task of its own owns the socket, so nothing has to be polled for it to work. It ends when the last
/// handle and the last [`Subscription`](crate::Subscription) are gone and what was handed over
/// is published.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// Connects to the broker at a `ws://` or `wss://` URL with the defaults of [`ConnectOptions`]; the
    /// path is `/ws` where the URL has none.
    ///
    /// # Errors
    /// See [`ConnectOptions::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the try and leaves nothing behind.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Says how to connect, then connects.
    pub fn builder(url: &str) -> ConnectOptions {
        ConnectOptions::new(url)
    }

    /// Publishes `payload` to `topic`; text and bytes are payloads as they are.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
    /// # let client = fanfare_client::Client::connect(&format!("ws://{}", broker.public_addr())).await?;
    /// // One at a time: wait for the ack.
    /// let published = client.publish("room:42", "hello").await?;
    /// println!("at {}", published.position);
    ///
    /// // Many: hand them over as fast as there is capacity, then wait for the acks.
    /// let mut acks = Vec::new();
    /// for n in 0..1_000 {
    ///     acks.push(client.publish_json("room:42", &n).send().await?);
    /// }
    /// for ack in acks {
    ///     ack.await?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(&self, topic: impl IntoTopic, payload: impl Into<Payload>) -> PublishRequest {
        let what = checked(topic).map(|topic| (topic, payload.into()));
        PublishRequest::new(Arc::clone(&self.shared), what)
    }

    /// Publishes `value` to `topic` as a `json` payload.
    pub fn publish_json<T: Serialize + ?Sized>(&self, topic: impl IntoTopic, value: &T) -> PublishRequest {
        let what = checked(topic).and_then(|topic| Ok((topic, Payload::json_of(value)?)));
        PublishRequest::new(Arc::clone(&self.shared), what)
    }

    /// Subscribes to `topic`.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
    /// # let client = fanfare_client::Client::connect(&format!("ws://{}", broker.public_addr())).await?;
    /// use fanfare_client::Event;
    ///
    /// let mut room = client.subscribe("room:42").history(10).await?;
    /// # client.drain(std::time::Duration::from_secs(5)).await?;
    /// while let Some(event) = room.next().await {
    ///     match event {
    ///         Event::Publication(publication) => println!("{:?}", publication.text()),
    ///         Event::Gap(gap) => println!("missed {:?}", gap.missed),
    ///         Event::Resubscribed { recovered, .. } => println!("back, all there: {recovered}"),
    ///         Event::Closed(reason) => println!("over: {reason}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(&self, topic: impl IntoTopic) -> SubscribeRequest {
        SubscribeRequest::new(Arc::clone(&self.shared), checked(topic))
    }

    /// Subscribes to many topics, to be read as one stream; a topic that is named twice is subscribed to once.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
    /// # let client = fanfare_client::Client::connect(&format!("ws://{}", broker.public_addr())).await?;
    /// use fanfare_client::Event;
    ///
    /// let mut rooms = client.subscribe_many(["room:1", "room:2"]).history(10).await?;
    /// client.publish_json("room:2", "hello").await?;
    /// if let Some((topic, Event::Publication(publication))) = rooms.next().await {
    ///     println!("{topic}: {:?}", publication.text());
    /// }
    /// // To go on from here another time.
    /// let positions = serde_json::to_string(&rooms.positions())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe_many<T: IntoTopic>(&self, topics: impl IntoIterator<Item = T>) -> SubscribeManyRequest {
        SubscribeManyRequest::new(&self.shared, topics)
    }

    /// Asks for publications of the past.
    pub fn history(&self, topic: impl IntoTopic) -> HistoryRequest {
        HistoryRequest::new(Arc::clone(&self.shared), checked(topic))
    }

    /// Asks the broker for a sign of life; returns how long that took.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Closed`]; [`Error::Full`].
    ///
    /// # Cancel safety
    /// Cancel safe: the answer to what was sent already is left out.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        self.shared.request(|reply| Command::Ping { reply }).await?;
        Ok(start.elapsed())
    }

    /// What the connection is doing.
    pub fn state(&self) -> ConnectionState {
        self.shared.link().state.borrow().clone()
    }

    /// Follows what the connection is doing.
    pub fn state_changes(&self) -> StateChanges {
        StateChanges::new(self.shared.link().state.clone())
    }

    /// What this client and its clones have done so far.
    pub fn statistics(&self) -> Statistics {
        let Backlog { counters, .. } = &*self.shared.link().backlog;
        Statistics {
            connections: counters.connections.get(),
            received: counters.received.get(),
            missed: counters.missed.get(),
            sent: counters.sent.get(),
            acknowledged: counters.acknowledged.get(),
            duplicates: counters.duplicates.get(),
            failed: counters.failed.get(),
            unknown: counters.unknown.get(),
            unsettled: self.shared.permits().count(),
            waiting_bytes: self.shared.link().backlog.bytes(),
        }
    }

    /// Waits until every publish that was handed over so far, through any clone, is settled: acknowledged or failed. Which
    /// of the two its [`PublishAck`](crate::PublishAck) says, and of those whose acks were dropped
    /// [`statistics`](Self::statistics) how many failed. Others may be handed over meanwhile.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Nothing is taken back when the future is dropped.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.flush().await
    }

    /// Ends the client at once: publishes that are not settled fail with [`Error::Closed`], and subscriptions end with
    /// [`Event::Closed`](crate::Event::Closed). Returns when the connection is closed, or after a second.
    /// [`drain`](Self::drain) waits for the publishes first.
    ///
    /// # Cancel safety
    /// The client ends all the same when the future is dropped after it was polled.
    pub async fn close(&self) {
        self.shared.link().closing.notify_one();
        self.state_changes().wait_for(|state| matches!(state, ConnectionState::Closed(_))).await;
    }

    /// Ends the client in good order: takes nothing more, waits until every publish handed over so far is
    /// settled, then closes the connection and all subscriptions. Their deliveries are not waited for. Called while it
    /// drains already, it waits for that, and the earliest deadline counts. Where the broker does not answer, closing
    /// takes up to a second more.
    ///
    /// # Errors
    /// [`Error::Timeout`] when that took longer: the client is closed all the same, and the publishes that
    /// were not settled have failed. [`Error::Closed`] when it was closed already.
    ///
    /// # Cancel safety
    /// Draining goes on when the future is dropped.
    pub async fn drain(&self, within: Duration) -> Result<(), Error> {
        let link = self.shared.link();
        let (reply, answer) = Reply::new();
        link.draining.store(true, Ordering::Relaxed);
        let command = Command::Drain(Drain { deadline: deadline::after(within), within, reply });
        match timeout(within, link.commands.send(command)).await {
            Ok(Ok(())) => answer.await.unwrap_or_else(|_| Err(link.closed())),
            Ok(Err(_)) => self.drained_within(within).await,
            Err(_) => Err(link.timeout(within)),
        }
    }

    /// Waits for a drain that is under way.
    async fn drained_within(&self, within: Duration) -> Result<(), Error> {
        let link = self.shared.link();
        if matches!(self.state(), ConnectionState::Closed(_)) {
            return Err(link.closed());
        }
        let mut state = self.state_changes();
        let closed = state.wait_for(|state| matches!(state, ConnectionState::Closed(_)));
        match timeout(within, closed).await {
            Err(_) => {
                // The driver takes no commands any more, and waits until the other one's deadline.
                link.closing.notify_one();
                Err(link.timeout(within))
            }
            Ok(Some(ConnectionState::Closed(CloseReason::Drained))) => Ok(()),
            Ok(_) => Err(link.closed()),
        }
    }

    pub(crate) fn start(endpoint: Endpoint, options: ConnectOptions) -> Self {
        let (commands, command_inbox) = mpsc::channel(COMMANDS_MAX);
        let permits = PublishPermits::new(options.publish_buffer, options.publish_buffer_bytes);
        // As long as there are permits and one more for whoever flushes, so whoever has a permit finds a place in it.
        let (publishes, publish_inbox) = mpsc::channel(permits.count_max() + 1);
        let (state_sender, state) = watch::channel(ConnectionState::Connecting { last_failure: None });
        let departures = Arc::new(Departures::default());
        let request_timeout = options.driver.request_timeout;
        let closing = Arc::<Notify>::default();
        let backlog = Backlog::new(options.subscription_buffer_bytes);
        let link = Link {
            commands,
            departures: departures.clone(),
            state,
            request_timeout,
            backlog: Arc::clone(&backlog),
            closing: Arc::clone(&closing),
            draining: AtomicBool::new(false),
        };
        let shared = Shared::new(link, publishes, permits, options.subscription_buffer);
        let inbox = Inbox::new(command_inbox, publish_inbox, departures);
        let driver = Driver::new(endpoint, options.driver, backlog, closing, inbox, state_sender);
        #[expect(clippy::disallowed_methods, reason = "the handles own it: it ends when they are gone")]
        tokio::spawn(driver.run());
        Self { shared: Arc::new(shared) }
    }

    /// Waits until the first connection is there, or where `fail_fast` the first try has failed.
    pub(crate) async fn connected_within(&self, within: Duration, fail_fast: bool) -> Result<(), Error> {
        let mut state = self.state_changes();
        let settled = state.wait_for(|state| match state {
            ConnectionState::Connected(_) | ConnectionState::Closed(_) => true,
            ConnectionState::Waiting { .. } => fail_fast,
            ConnectionState::Connecting { .. } => false,
        });
        match timeout(within, settled).await {
            Err(_) => Err(self.shared.link().timeout(within)),
            Ok(Some(ConnectionState::Connected(_))) => Ok(()),
            Ok(Some(ConnectionState::Waiting { failure, .. })) => Err(Error::NotConnected(failure)),
            Ok(_) => Err(self.shared.link().closed()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
