//! Subscribing: the request, and the stream of events.

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fanfare_protocol::{OnLag, Position, TopicName};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FusedStream, Stream};

use super::link::Link;
use super::shared::Shared;
use crate::channel::{Command, EventQueue, NewSubscriber, QueueWriter, Start, SubscriberId};
use crate::error::Error;
use crate::event::Event;

/// Most events that a queue has capacity for because of the history that was asked for.
const HISTORY_BUFFER_MAX: usize = 65_536;

/// A subscription that was not sent yet: await it.
///
/// A client subscribes to a topic once on the wire, however many [`Subscription`]s of it there are: each of
/// them sees every publication. One that joins later begins where it asks to all the same: the client
/// fetches what it needs with a history request (which the credentials must allow) and goes on live without
/// a hole.
#[must_use = "nothing is subscribed to until it is awaited"]
#[derive(Debug)]
pub struct SubscribeRequest {
    client: Arc<Shared>,
    topic: Result<TopicName, Error>,
    start: Start,
    echo: bool,
    on_lag: OnLag,
    buffer: usize,
    capacity: Option<usize>,
}

impl SubscribeRequest {
    pub(crate) fn new(client: Arc<Shared>, topic: Result<TopicName, Error>) -> Self {
        let buffer = client.subscription_buffer();
        Self { client, topic, start: Start::Now, echo: true, on_lag: OnLag::Gap, buffer, capacity: None }
    }

    /// Continues after a position, as [`Subscription::position`] gave it earlier. The first event is
    /// [`Event::Resubscribed`] and says whether that worked. `None`, where there is none yet, is as if it were not called. Replaces `history`.
    pub fn since(mut self, position: impl Into<Option<Position>>) -> Self {
        if let Some(position) = position.into() {
            self.start = Start::Since(position);
        }
        self
    }

    /// Begins with the newest `count` publications, as far as the broker keeps them. Replaces `since`.
    pub fn history(mut self, count: u64) -> Self {
        self.start = Start::History(count);
        self
    }

    /// Whether this client's own publications come back; default true.
    ///
    /// The client knows its latest 4,096 by topic, message id and where they stand: it never takes somebody else's
    /// for one.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// What happens when the reader falls behind by more than the [capacity](Self::capacity), and when the
    /// connection falls behind what the broker keeps; default [`OnLag::Gap`].
    ///
    /// `Gap` drops the oldest events, `Latest` all but the newest, and [`Event::Gap`] says what was dropped;
    /// `Disconnect` ends this subscription, and no other. Towards the broker `Latest` holds where the topic's first
    /// subscription asks for it.
    pub fn on_lag(mut self, policy: OnLag) -> Self {
        self.on_lag = policy;
        self
    }

    /// Most events that wait to be read, at least 1; default the client's
    /// [`subscription_buffer`](crate::ConnectOptions::subscription_buffer), or as many as the
    /// [`history`](Self::history) that was asked for, up to 65,536. All subscriptions of the client together hold at most
    /// [`subscription_buffer_bytes`](crate::ConnectOptions::subscription_buffer_bytes).
    pub fn capacity(mut self, count: usize) -> Self {
        self.capacity = Some(count);
        self
    }

    fn buffered_max(&self) -> usize {
        let history = match self.start {
            Start::History(count) => usize::try_from(count).unwrap_or(usize::MAX).min(HISTORY_BUFFER_MAX),
            Start::Now | Start::Since(_) => 0,
        };
        self.capacity.unwrap_or_else(|| self.buffer.max(history))
    }
}

/// Resolves once the broker has confirmed: what is published after that is seen.
///
/// # Errors
/// [`Error::Invalid`] for a bad topic; [`Error::Refused`]; [`Error::Timeout`]; [`Error::Closed`].
///
/// # Cancel safety
/// Dropping the future unsubscribes.
impl IntoFuture for SubscribeRequest {
    type Output = Result<Subscription, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let capacity = self.buffered_max();
        let Self { client, topic, start, echo, on_lag, .. } = self;
        async move {
            let topic = topic?;
            let queue = client.link().backlog.queue(capacity, on_lag);
            let id = client.next_subscriber();
            // Made before it is confirmed, so that dropping this future unsubscribes like any other end.
            let mut subscription = Subscription {
                topic: topic.clone(),
                id,
                queue: queue.clone(),
                link: client.link().clone(),
                position: None,
                ended: false,
            };
            let position = client
                .request(|reply| {
                    let queue = QueueWriter(queue);
                    Command::Subscribe(NewSubscriber { id, topic, start, echo, on_lag, queue, reply })
                })
                .await?;
            subscription.position = Some(position);
            Ok(subscription)
        }
        .boxed()
    }
}

/// A live subscription: a stream of [`Event`]s. Dropping it unsubscribes.
///
/// At most its capacity of events wait in it. Where a burst is larger, there is backpressure: the client
/// reads nothing from the broker until there is capacity again, up to 2 s while the reader goes on reading,
/// and 250 ms while it does not, so a reader that keeps up loses nothing to a burst. One that is slower than
/// its topic costs the client's other subscriptions a quarter of their time at most; it finds an
/// [`Event::Gap`] with the exact count where events had to be dropped.
#[derive(Debug)]
pub struct Subscription {
    topic: TopicName,
    id: SubscriberId,
    queue: Arc<EventQueue>,
    link: Arc<Link>,
    position: Option<Position>,
    ended: bool,
}

impl Subscription {
    /// The next event, or `None` after [`Event::Closed`].
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The topic subscribed to.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// After what the subscription would continue: the position of the newest publication or gap that was read, or where
    /// it began. After an [`Event::Resubscribed`] that has not `recovered` that is the position which it bears.
    pub fn position(&self) -> Position {
        self.position.expect("set before the subscription is handed out")
    }

    /// Unsubscribes, and waits until the broker has confirmed or the connection is gone.
    ///
    /// # Errors
    /// [`Error::Timeout`]. A client that is closed is no error: there is nothing left to end.
    ///
    /// # Cancel safety
    /// The subscription ends all the same when the future is dropped.
    pub async fn unsubscribe(self) -> Result<(), Error> {
        let (topic, subscriber) = (self.topic.clone(), self.id);
        match self.link.request(|reply| Command::Unsubscribe { topic, subscriber, reply }).await {
            Err(Error::Closed { .. }) => Ok(()),
            result => result,
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = ready!(self.queue.poll_pop(cx));
        match &event {
            Some(Event::Publication(publication)) => self.position = Some(publication.position),
            Some(Event::Gap(gap)) => self.position = Some(gap.position()),
            Some(Event::Resubscribed { recovered: false, position, .. }) => self.position = Some(*position),
            Some(_) => {}
            None => self.ended = true,
        }
        Poll::Ready(event)
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl FusedStream for Subscription {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.depart();
        self.link.departures.add(self.topic.clone(), self.id);
    }
}
