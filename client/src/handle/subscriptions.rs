//! Many topics, read as one stream.

use std::collections::HashMap;
use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fanfare_protocol::{OnLag, Position, TopicName};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::{FusedStream, SelectAll, Stream};

use super::into_topic::{IntoTopic, checked};
use super::shared::Shared;
use super::subscription::{SubscribeRequest, Subscription};
use crate::error::Error;
use crate::event::Event;

/// Subscriptions that were not sent yet: await them. See [`Client::subscribe_many`](crate::Client::subscribe_many).
#[must_use = "nothing is subscribed to until it is awaited"]
#[derive(Debug)]
pub struct SubscribeManyRequest {
    requests: Result<HashMap<TopicName, SubscribeRequest>, Error>,
    /// Where to continue, whatever else is asked for.
    positions: Result<HashMap<TopicName, Position>, Error>,
}

impl SubscribeManyRequest {
    pub(crate) fn new<T: IntoTopic>(client: &Arc<Shared>, topics: impl IntoIterator<Item = T>) -> Self {
        let requests = topics.into_iter().map(|topic| {
            let topic = checked(topic)?;
            Ok((topic.clone(), SubscribeRequest::new(Arc::clone(client), Ok(topic))))
        });
        Self { requests: requests.collect(), positions: Ok(HashMap::new()) }
    }

    fn each(mut self, change: impl Fn(SubscribeRequest) -> SubscribeRequest) -> Self {
        self.requests = self
            .requests
            .map(|requests| requests.into_iter().map(|(topic, request)| (topic, change(request))).collect());
        self
    }

    /// Continues the topics that are among `positions` after these, as [`Subscriptions::positions`] gave them earlier;
    /// see [`SubscribeRequest::since`]. Positions of other topics are ignored.
    pub fn since<T: IntoTopic>(mut self, positions: impl IntoIterator<Item = (T, Position)>) -> Self {
        let checked = |(topic, position)| Ok((checked(topic)?, position));
        self.positions = positions.into_iter().map(checked).collect();
        self
    }

    /// Each begins with its newest `count` publications, but for those that continue [`since`](Self::since) a position;
    /// see [`SubscribeRequest::history`].
    pub fn history(self, count: u64) -> Self {
        self.each(|request| request.history(count))
    }

    /// Whether this client's own publications come back; see [`SubscribeRequest::echo`].
    pub fn echo(self, echo: bool) -> Self {
        self.each(|request| request.echo(echo))
    }

    /// What happens when a reader falls behind; see [`SubscribeRequest::on_lag`].
    pub fn on_lag(self, policy: OnLag) -> Self {
        self.each(|request| request.on_lag(policy))
    }

    /// Most events of each topic that wait to be read; see [`SubscribeRequest::capacity`].
    pub fn capacity(self, count: usize) -> Self {
        self.each(|request| request.capacity(count))
    }
}

/// Resolves once the broker has confirmed all of them.
///
/// # Errors
/// As of [`SubscribeRequest`], for the first topic that fails, one that is refused say; then none is subscribed to.
///
/// # Cancel safety
/// Dropping the future unsubscribes.
impl IntoFuture for SubscribeManyRequest {
    type Output = Result<Subscriptions, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let positions = self.positions?;
            let requests = self.requests?.into_iter().map(|(topic, request)| {
                match positions.get(&topic) {
                    Some(&position) => request.since(position),
                    None => request,
                }
                .into_future()
            });
            let subscriptions = try_join_all(requests).await?;
            Ok(Subscriptions { all: subscriptions.into_iter().map(Named).collect(), ended: HashMap::new() })
        }
        .boxed()
    }
}

/// Live subscriptions to many topics: a stream of what each yields, with its topic. Dropping it unsubscribes from all.
///
/// Events of one topic come in order; topics take turns.
#[derive(Debug)]
pub struct Subscriptions {
    all: SelectAll<Named>,
    /// Where those stood that have ended.
    ended: HashMap<TopicName, Position>,
}

impl Subscriptions {
    /// The next event of any topic; `None` after all have ended with [`Event::Closed`].
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<(TopicName, Event)> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// After what each topic would continue, those that have ended included: see [`Subscription::position`].
    pub fn positions(&self) -> HashMap<TopicName, Position> {
        let mut positions = self.ended.clone();
        positions.extend(self.all.iter().map(|Named(one)| (one.topic().clone(), one.position())));
        positions
    }
}

impl Stream for Subscriptions {
    type Item = (TopicName, Event);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.all).poll_next(cx));
        Poll::Ready(next.map(|(topic, event, position)| {
            if let Event::Closed(_) = event {
                self.ended.insert(topic.clone(), position);
            }
            (topic, event)
        }))
    }
}

impl FusedStream for Subscriptions {
    fn is_terminated(&self) -> bool {
        self.all.is_empty()
    }
}

/// A subscription whose events bear their topic, and where it stands then.
#[derive(Debug)]
struct Named(Subscription);

impl Stream for Named {
    type Item = (TopicName, Event, Position);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(event.map(|event| (self.0.topic().clone(), event, self.0.position())))
    }
}
