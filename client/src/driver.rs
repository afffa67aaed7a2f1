//! The one task of a client: it owns the socket, and makes another one when that is lost; it must not know the handles.

mod doubt;
mod exchange;
mod inbox;
mod options;
mod reconnect;
mod refresh;
mod resubscribe;
mod state_sender;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info};

use crate::channel::{Backlog, Command, Handed, ReadPause};
use crate::deadline;
use crate::error::Error;
use crate::failure::{Failure, FailureKind};
use crate::session::{Session, Sizes};
use crate::state::{CloseReason, ConnectionState};
use crate::transport::{Connected, DialError, Endpoint, Lost, Setback, Wire, dial};
use doubt::{Doubt, LOST_AFTER};
use exchange::exchange;
pub(crate) use inbox::Inbox;
use inbox::Input;
pub(crate) use options::DriverOptions;
use reconnect::Backoff;
use refresh::Refresh;
use resubscribe::Resubscribe;
use state_sender::StateSender;

/// How much longer than its ping interval a broker may be silent.
const PING_GRACE: Duration = Duration::from_secs(10);
/// How long after credentials were refused others are asked for.
const ANOTHER_TOKEN_AFTER: Duration = Duration::from_secs(1);
/// When to look again where nothing is due.
const FAR_AWAY: Duration = Duration::from_secs(3600);

/// Runs until the broker says to stay away, the client was drained, or all its handles are gone.
pub(crate) struct Driver {
    endpoint: Arc<Endpoint>,
    options: Arc<DriverOptions>,
    session: Session,
    backlog: Arc<Backlog>,
    /// Told when the client is to end at once.
    closing: Arc<Notify>,
    inbox: Inbox,
    state: StateSender,
    backoff: Backoff,
    /// Whether the last credentials were refused, and there is a source of others.
    unauthorized: bool,
    /// Whether there was a connection before.
    was_connected: bool,
}

impl Driver {
    pub(crate) fn new(
        endpoint: Endpoint,
        options: DriverOptions,
        backlog: Arc<Backlog>,
        closing: Arc<Notify>,
        inbox: Inbox,
        state: watch::Sender<ConnectionState>,
    ) -> Self {
        let callback = options.on_state.clone();
        Self {
            endpoint: Arc::new(endpoint),
            backoff: Backoff::new(options.backoff_base, options.backoff_max),
            options: Arc::new(options),
            session: Session::new(Arc::clone(&backlog)),
            backlog,
            closing,
            inbox,
            state: StateSender::new(state, callback),
            unauthorized: false,
            was_connected: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let reason = loop {
            let setback = match self.connection().await {
                Ok(setback) => setback,
                Err(reason) => break reason,
            };
            if let Err(reason) = self.wait(setback).await {
                break reason;
            }
        };
        debug!(%reason, "client closed");
        self.state.send(ConnectionState::Closed(reason.clone()));
        self.session.close(&reason);
        self.backlog.counters.failed.add(self.inbox.refuse(&reason));
    }

    /// Makes one connection and lives on it. Returns what became of it, or why it was the last one.
    async fn connection(&mut self) -> Result<Setback, CloseReason> {
        let (endpoint, options) = (self.endpoint.clone(), self.options.clone());
        let was_connected = self.was_connected;
        let dialling = async move { dial(&endpoint, &options.dial, was_connected).await };
        let dialled = self.meanwhile(dialling).await?;
        let (mut wire, connected) = match dialled {
            Ok(connected) => connected,
            Err(DialError::Final(reason)) => return Err(reason),
            Err(DialError::Passing(setback)) => return Ok(setback),
            Err(DialError::Unauthorized(why)) => return self.try_another_token(why),
        };
        debug!(connection = connected.info.connection, server = connected.info.server, "connected");
        self.unauthorized = false;
        self.was_connected = true;
        self.backlog.counters.connections.add(1);
        let start = Instant::now();
        self.state.send(ConnectionState::Connected(connected.info.clone()));
        self.session.connected();
        let end = self.converse(&mut wire, &connected).await;
        self.session.disconnected();
        self.backoff.lived(start.elapsed());
        match end {
            Ok(lost) => {
                self.meanwhile(wire.close()).await?;
                self.lost(lost)
            }
            Err(reason) => {
                wire.close().await;
                Err(reason)
            }
        }
    }

    /// Lives on one connection until it is lost, or there is nothing left to do.
    async fn converse(&mut self, wire: &mut Wire, connected: &Connected) -> Result<Lost, CloseReason> {
        let silence = connected.ping_interval + PING_GRACE;
        let packed_max = self.options.message_size;
        let single_max = connected.message_size.unwrap_or(packed_max);
        let sizes = Sizes { packed_max: packed_max.min(single_max), single_max };
        let mut refresh = Refresh::new(&self.options.dial, connected.expires_at, connected.date);
        let backoff = Backoff::new(self.options.backoff_base, self.options.backoff_max);
        let mut resubscribe = Resubscribe::new(backoff);
        let mut read_pause = ReadPause::new();
        let mut doubt = Doubt::default();
        let mut timer = pin!(sleep(Duration::ZERO));
        loop {
            if let Some(reason) = self.finished() {
                return Err(reason);
            }
            // Readers without capacity are waited for, a little: what they cannot take would be dropped.
            let held_until = read_pause.hold(&self.backlog.backpressure);
            let quiet = doubt.since(self.session.awaits_reply(), wire.last_heard());
            let silent_at = wire.last_heard() + silence;
            let lost_at = quiet.map_or(silent_at, |since| silent_at.min(since + LOST_AFTER));
            let dues = [Some(lost_at), doubt.due(), refresh.due(), resubscribe.due(), self.due(), held_until];
            let due = dues.into_iter().flatten().min().expect("silence is always due");
            // Moving a timer costs more than finding it early now and then.
            if timer.is_elapsed() || due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            let may_read = held_until.is_none();
            select! {
                heard = exchange(wire, &mut self.session, sizes, &self.backlog.backpressure, may_read) => {
                    if let Err(lost) = heard {
                        return Ok(lost);
                    }
                    if self.backlog.backpressure.take_felt() {
                        // The readers may be on this very thread.
                        tokio::task::yield_now().await;
                    }
                    if let Some(expires_at) = self.session.take_refreshed() {
                        refresh.schedule(expires_at);
                    }
                    if self.session.take_expiring() {
                        refresh.hurry(Instant::now());
                    }
                    resubscribe.plan(&self.session);
                }
                input = self.inbox.next(), if self.session.has_capacity() => self.take(input),
                () = self.backlog.backpressure.relieved(), if !may_read => {}
                () = self.closing.notified() => return Err(CloseReason::Stopped),
                token = refresh.token() => token.into_iter().for_each(|token| self.session.refresh(token)),
                () = &mut timer => {
                    let now = Instant::now();
                    if now >= lost_at && may_read {
                        let heard = now.duration_since(wire.last_heard());
                        let why = format!("the broker was silent for {heard:.1?}");
                        return Ok(Lost::Failed(Failure::new(FailureKind::Silent, why)));
                    }
                    if doubt.asks(now) {
                        self.session.ask_for_life();
                    }
                    refresh.start_if_due(now);
                    resubscribe.run_if_due(now, &mut self.session);
                    self.expire(now);
                }
            }
        }
    }

    /// Waits for the next try.
    async fn wait(&mut self, setback: Setback) -> Result<(), CloseReason> {
        let Setback { why: failure, retry_after } = setback;
        let backoff = self.backoff.next(rand::random());
        // All who were told the same do not come back in the same moment.
        let retry_in = retry_after.map_or(backoff, |told| told + backoff);
        let attempt = self.backoff.attempt();
        info!(%failure, ?retry_in, attempt, "not connected");
        self.state.send(ConnectionState::Waiting { retry_in, failure: failure.clone() });
        self.meanwhile(sleep(retry_in)).await?;
        self.state.send(ConnectionState::Connecting { last_failure: Some(failure) });
        Ok(())
    }

    /// Waits for `future` and goes on serving the handles. Fails when there is nothing left to do.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, CloseReason> {
        let mut future = pin!(future);
        loop {
            if let Some(reason) = self.finished() {
                return Err(reason);
            }
            let due = self.due().unwrap_or_else(|| Instant::now() + FAR_AWAY);
            select! {
                output = &mut future => return Ok(output),
                input = self.inbox.next() => self.take(input),
                () = self.closing.notified() => return Err(CloseReason::Stopped),
                () = sleep_until(due) => self.expire(Instant::now()),
            }
        }
    }

    fn take(&mut self, input: Option<Input>) {
        match input {
            Some(Input::Command(command)) => {
                if matches!(command, Command::Drain(_)) {
                    self.inbox.close();
                }
                self.session.command(command);
            }
            Some(Input::Departures(departures)) => {
                for (topic, subscriber) in departures {
                    self.session.depart(&topic, subscriber, None);
                }
            }
            Some(Input::Publishes(submissions)) => {
                let deadline = deadline::after(self.options.request_timeout);
                for handed in submissions {
                    match handed {
                        Handed::Publish(submission) => self.session.publish(submission, deadline),
                        Handed::Flush { reply, .. } => self.session.flush(reply),
                    }
                }
            }
            None => {}
        }
    }

    /// Why to end, if there is nothing left to do.
    fn finished(&self) -> Option<CloseReason> {
        let draining = self.session.drain_deadline();
        let settled = self.inbox.is_exhausted() && self.session.is_settled();
        match draining {
            Some(deadline) if settled || deadline <= Instant::now() => Some(CloseReason::Drained),
            None if settled => Some(CloseReason::Stopped),
            _ => None,
        }
    }

    /// When something that belongs to no connection is due.
    fn due(&self) -> Option<Instant> {
        [self.session.drain_deadline(), self.session.publish_deadline()].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Instant) {
        let after = self.options.request_timeout;
        let state = &self.state;
        self.session.expire(now, || Error::Timeout {
            after,
            last_failure: state.last_failure(),
            may_have_happened: false,
        });
    }

    /// What follows from the end of a connection.
    fn lost(&mut self, lost: Lost) -> Result<Setback, CloseReason> {
        match lost.final_reason() {
            None => Ok(lost.into_failure().into()),
            Some(_) if lost.is_unauthorized() => self.try_another_token(lost.to_string()),
            Some(reason) => Err(reason),
        }
    }

    /// The credentials were refused: there is one more try, where there is a source of others.
    fn try_another_token(&mut self, why: String) -> Result<Setback, CloseReason> {
        if self.options.dial.token.can_change() && !self.unauthorized {
            self.unauthorized = true;
            let why = format!("the credentials were refused: {why}");
            // Where tokens come from a cache the next one may still be the old one a moment later.
            return Ok(Setback {
                why: Failure::new(FailureKind::Refused, why),
                retry_after: Some(ANOTHER_TOKEN_AFTER),
            });
        }
        Err(CloseReason::Unauthorized(why))
    }
}
