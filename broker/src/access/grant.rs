//! What the bearer of some credentials may do, and for how long.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use fanfare_protocol::ErrorCode;

use super::config::GrantConfig;
use super::issue::Issue;
use super::metrics::RefusalCounter;
use crate::clock::Uptime;
use crate::inbox::GrantSeen;
use crate::namespaces::config::NamespaceConfig;
use crate::pattern::{InvalidPattern, Names, Patterns};
use crate::right::Right;

/// What the bearer of some credentials may do.
#[derive(Debug, Default)]
pub struct Grant {
    /// Who it is, if anybody in particular.
    pub user: Option<Arc<str>>,
    /// What these credentials grant.
    pub(super) own: Rights,
    /// What all grant that are of that kind.
    pub(super) common: Arc<Rights>,
    /// Which token of the configuration it is of, where it is of one.
    pub(super) token: Option<NonZeroU64>,
    /// By whom and until when, where a token says so.
    pub(super) issue: Option<Box<Issue>>,
    pub(super) end: End,
    /// What the same credentials grant since the configuration was changed.
    pub(super) successor: OnceLock<Arc<Self>>,
    /// The counter of what is refused, which all grants have in common.
    pub(super) refused: RefusalCounter,
}

/// Why a grant is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantEnd {
    /// Its credentials have had their time.
    Expired,
    /// It was taken back: its bearer needs other credentials.
    Revoked,
    /// The configuration has changed: the same credentials may grant something else now. Whoever has it goes on with it until
    /// that is found out, which is soon.
    Superseded,
}

/// Whether all grants of a kind have ended. Set once, by whoever ends them; read without a lock.
#[derive(Debug, Default)]
pub(super) struct End {
    how: AtomicU8,
    /// Of a key: the same key in the configuration that came after.
    successor: OnceLock<Arc<Self>>,
}

impl End {
    const REVOKED: u8 = 1;
    const SUPERSEDED: u8 = 2;

    pub(super) fn get(&self) -> Option<GrantEnd> {
        // What it goes on as is there before.
        match self.how.load(Ordering::Acquire) {
            Self::REVOKED => Some(GrantEnd::Revoked),
            Self::SUPERSEDED => Some(GrantEnd::Superseded),
            _ => None,
        }
    }

    pub(super) fn revoke(&self) {
        self.how.store(Self::REVOKED, Ordering::Relaxed);
    }

    pub(super) fn supersede(&self) {
        // What is revoked stays so.
        let _revoked = self.how.compare_exchange(0, Self::SUPERSEDED, Ordering::Release, Ordering::Relaxed);
    }

    /// Of a key: the same one goes on as that.
    pub(super) fn go_on_as(&self, successor: &Arc<Self>) {
        self.successor.get_or_init(|| Arc::clone(successor));
        self.supersede();
    }

    /// Of a key: the last that it goes on as, if it does.
    pub(super) fn last_successor(&self) -> Option<&Arc<Self>> {
        let mut last = self.successor.get()?;
        while let Some(next) = last.successor.get() {
            last = next;
        }
        Some(last)
    }
}

impl Grant {
    /// What tells the token of the configuration that it is of from others, whatever it grants; `None` where it is of none.
    pub(crate) fn static_token(&self) -> Option<NonZeroU64> {
        self.token
    }

    /// Bytes that it holds of its own: its bearers do not share it.
    pub(crate) fn held_bytes(&self) -> usize {
        self.issue.as_ref().map_or(0, |issue| issue.bytes)
    }

    /// Whether the other one grants the same to the same user.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.user == other.user && self.own == other.own && self.common == other.common
    }

    /// What it grants, as a grant that nobody has yet.
    pub(super) fn anew(&self, common: &Arc<Rights>, refused: &RefusalCounter) -> Self {
        Self {
            user: self.user.clone(),
            token: self.token,
            own: self.own.clone(),
            common: Arc::clone(common),
            refused: refused.clone(),
            ..Self::default()
        }
    }

    /// The same credentials grant that from now on.
    pub(super) fn go_on_as(&self, successor: &Arc<Self>) {
        self.successor.get_or_init(|| Arc::clone(successor));
        self.end.supersede();
    }

    /// What the same credentials grant where those with credentials may do `common`, if that can be told without them.
    pub(super) fn renewed(&self, common: &Arc<Rights>) -> Option<Arc<Self>> {
        if let Some(mut last) = self.successor.get() {
            while let Some(next) = last.successor.get() {
                last = next;
            }
            return Some(Arc::clone(last));
        }
        let issue = self.issue.as_deref()?;
        let issue = issue.by(issue.key.last_successor()?);
        Some(Arc::new(Self { issue: Some(Box::new(issue)), ..self.anew(common, &self.refused) }))
    }

    /// Whether it lets nobody do anything any more: what was superseded does, until its bearer has what came after.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.end(), None | Some(GrantEnd::Superseded))
    }

    /// Whether topics named so may be subscribed to.
    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.may(Right::Subscribe, topic)
    }

    /// Whether topics named so may be published to.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.may(Right::Publish, topic)
    }

    /// Whether it may be seen who subscribes to topics named so.
    pub fn may_see_presence(&self, topic: &str) -> bool {
        self.may(Right::Presence, topic)
    }

    /// Whether the history of topics named so may be read.
    pub fn may_read_history(&self, topic: &str) -> bool {
        self.may(Right::History, topic)
    }

    /// Whether that may be done with topics named so, as long as the grant stands.
    pub fn may(&self, right: Right, topic: &str) -> bool {
        let user = self.user.as_deref();
        [&self.own, &*self.common].iter().any(|rights| rights.get(right).match_any(topic, user))
    }

    /// Why it is none any more, if so. Whoever is told of a revocation by another thread finds it here. Costs a few loads, and a
    /// look at the clock where it expires.
    pub fn end(&self) -> Option<GrantEnd> {
        let taken_back = self.taken_back();
        if taken_back == Some(GrantEnd::Revoked) {
            return taken_back;
        }
        let has_expired = self.expires_at().is_some_and(|expires_at| Uptime::now() >= expires_at);
        if has_expired { Some(GrantEnd::Expired) } else { taken_back }
    }

    /// Why it was taken back, if it was; by the clock nothing is.
    pub(crate) fn taken_back(&self) -> Option<GrantEnd> {
        if let end @ Some(_) = self.end.get() {
            return end;
        }
        let issue = self.issue.as_deref()?;
        let end = issue.taken_back(self.user.as_deref());
        if end == Some(GrantEnd::Revoked) {
            self.end.revoke();
        }
        end
    }

    /// Whether it was taken back by a revocation, or because its token or key went away.
    pub(crate) fn is_revoked(&self) -> bool {
        self.taken_back() == Some(GrantEnd::Revoked)
    }

    /// The moment from which on it grants nothing, the leeway counted in; `None` where it does not expire.
    pub fn expires_at(&self) -> Option<Uptime> {
        self.issue.as_ref().map(|issue| issue.expires_at)
    }

    /// The date of it in Unix seconds, as the token says: for people and for the wire.
    pub fn expires_at_unix(&self) -> Option<u64> {
        self.issue.as_ref().map(|issue| issue.expires_at_unix)
    }

    /// The id of the token, if it has one.
    pub fn token_id(&self) -> Option<&str> {
        self.issue.as_ref()?.token_id.as_deref()
    }

    /// When the token was issued, in Unix seconds, if it says so.
    pub fn issued_at_unix(&self) -> Option<u64> {
        self.issue.as_ref()?.issued_at
    }

    /// Whether nothing at all may be done with it.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.common.is_empty()
    }

    /// How the patterns of topics are written with which that may be done.
    pub fn patterns(&self, right: Right) -> Vec<String> {
        self.own.get(right).texts().chain(self.common.get(right).texts()).collect()
    }

    /// What it allows, as patterns.
    pub(crate) fn seen(&self) -> GrantSeen {
        GrantSeen { subscribe: self.patterns(Right::Subscribe), publish: self.patterns(Right::Publish) }
    }

    /// The topics named so that may be subscribed to and begin with `prefix`, in order.
    pub(crate) fn names(&self, prefix: &str) -> Vec<Names> {
        let user = self.user.as_deref();
        let (own, common) = (self.own.get(Right::Subscribe), self.common.get(Right::Subscribe));
        Names::in_order(own.names(user).chain(common.names(user)), prefix)
    }

    /// Whether there is no topic at all that may be published to.
    pub(crate) fn may_publish_nothing(&self) -> bool {
        self.own.publish.is_empty() && self.common.publish.is_empty()
    }

    /// Why whoever has this grant may not do `what`, such as "publish to this topic". It is counted under the first
    /// word.
    pub(crate) fn refusal(&self, what: &'static str) -> (ErrorCode, String) {
        self.refused.count(what.split(' ').next().unwrap_or(what));
        match (self.end(), &self.user) {
            (Some(GrantEnd::Expired), _) => {
                (ErrorCode::Unauthorized, "the credentials have expired".to_owned())
            }
            (Some(GrantEnd::Revoked), _) => {
                (ErrorCode::Unauthorized, "the credentials were revoked".to_owned())
            }
            (_, None) => (ErrorCode::Unauthorized, format!("without credentials you may not {what}")),
            (_, Some(_)) => (ErrorCode::Forbidden, format!("your credentials do not let you {what}")),
        }
    }
}

/// What may be done with which topics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rights {
    subscribe: Patterns,
    publish: Patterns,
    /// Absent: as `subscribe`.
    presence: Option<Patterns>,
    history: Option<Patterns>,
}

impl Rights {
    /// The right to everything.
    pub(super) fn all() -> Self {
        Self { subscribe: Patterns::all(), publish: Patterns::all(), ..Self::default() }
    }

    /// Reads the patterns of a configuration or a token.
    ///
    /// # Errors
    /// Names the right whose patterns are none.
    pub(super) fn parse(config: &GrantConfig) -> Result<Self, (Right, InvalidPattern)> {
        let parse =
            |right: Right, patterns: &Vec<String>| Patterns::parse(patterns).map_err(|why| (right, why));
        let maybe = |right, patterns: &Option<Vec<String>>| {
            patterns.as_ref().map(|patterns| parse(right, patterns)).transpose()
        };
        Ok(Self {
            subscribe: parse(Right::Subscribe, &config.subscribe)?,
            publish: parse(Right::Publish, &config.publish)?,
            presence: maybe(Right::Presence, &config.presence)?,
            history: maybe(Right::History, &config.history)?,
        })
    }

    /// What all may do with the topics of the namespaces, by the rights that are picked there.
    pub(super) fn of_namespaces<'c>(
        namespaces: &'c BTreeMap<String, NamespaceConfig>,
        pick: impl Fn(&'c NamespaceConfig) -> &'c [Right],
    ) -> Self {
        let of = |right: Right| {
            let names = namespaces.iter().filter(|(_, config)| pick(config).contains(&right));
            let patterns: Vec<_> = names.map(|(name, _)| format!("{name}:*")).collect();
            Patterns::parse(&patterns).unwrap_or_default()
        };
        Self {
            subscribe: of(Right::Subscribe),
            publish: of(Right::Publish),
            presence: Some(of(Right::Presence)),
            history: Some(of(Right::History)),
        }
    }

    /// What these or those grant.
    pub(super) fn joined(&self, other: &Self) -> Self {
        let of = |right| self.get(right).joined(other.get(right));
        Self {
            subscribe: of(Right::Subscribe),
            publish: of(Right::Publish),
            presence: Some(of(Right::Presence)),
            history: Some(of(Right::History)),
        }
    }

    /// How many patterns there are.
    pub(super) fn len(&self) -> usize {
        let followers = [&self.presence, &self.history].into_iter().flatten();
        self.subscribe.len() + self.publish.len() + followers.map(Patterns::len).sum::<usize>()
    }

    /// Bytes that they take.
    pub(super) fn held_bytes(&self) -> usize {
        let followers = [&self.presence, &self.history].into_iter().flatten();
        self.subscribe.held_bytes()
            + self.publish.held_bytes()
            + followers.map(Patterns::held_bytes).sum::<usize>()
    }

    fn get(&self, right: Right) -> &Patterns {
        match right {
            Right::Subscribe => &self.subscribe,
            Right::Publish => &self.publish,
            Right::Presence => self.presence.as_ref().unwrap_or(&self.subscribe),
            Right::History => self.history.as_ref().unwrap_or(&self.subscribe),
        }
    }

    fn is_empty(&self) -> bool {
        Right::ALL.into_iter().all(|right| self.get(right).is_empty())
    }

    /// Whether any of them is of a user.
    pub(super) fn are_of_user(&self) -> bool {
        Right::ALL.into_iter().any(|right| self.get(right).are_of_user())
    }
}
