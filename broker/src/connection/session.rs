//! The protocol's rules for one connection: who it is and what it may do. Pure.

use std::sync::Arc;

use fanfare_protocol::ErrorCode;

use super::tenure::{Due, Tenure, Terms};
use crate::access::Grant;
use crate::clock::Uptime;
use crate::operation::Denied;

/// Bytes of credentials that are part of what each connection costs: whoever brings more is charged for it.
const CREDENTIALS_BYTES: usize = 512;

/// What the conversation on one connection has come to.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the credentials allow that count now.
    grant: Arc<Grant>,
    /// How long they do.
    tenure: Tenure,
    /// Whether `connect` was said, which may be once.
    said_connect: bool,
}

impl Session {
    /// A conversation that begins `now`.
    pub(crate) fn new(grant: Arc<Grant>, now: Uptime, terms: Terms) -> Self {
        let tenure = Self::tenure(&grant, now, terms);
        Self { grant, tenure, said_connect: false }
    }

    fn tenure(grant: &Grant, now: Uptime, terms: Terms) -> Tenure {
        Tenure::new(grant.expires_at(), grant.user.is_none() && grant.is_empty(), now, terms)
    }

    /// The grant, which only operations ask what it allows.
    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Who the credentials say it is; `None` for nobody in particular.
    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        self.grant.user.as_ref()
    }

    /// Bytes that its credentials take beyond those that every connection has for them.
    pub(super) fn held_bytes(&self) -> usize {
        self.grant.held_bytes().saturating_sub(CREDENTIALS_BYTES)
    }

    /// Whether its peer may do nothing (yet): what it holds is on the account of strangers.
    pub(crate) fn is_stranger(&self) -> bool {
        self.grant.is_empty()
    }

    /// Whether `connect` may be said (again).
    pub(crate) fn may_connect(&self) -> Result<(), Denied> {
        if self.said_connect {
            return Err(Denied::new(ErrorCode::BadRequest, "this connection has sent \"connect\" before"));
        }
        Ok(())
    }

    /// Notes that `connect` was said.
    pub(super) fn connected(&mut self) {
        self.said_connect = true;
    }

    /// Has that grant from `now` on.
    pub(super) fn regrant(&mut self, grant: Arc<Grant>, now: Uptime, terms: Terms) {
        let is_same_end = grant.expires_at().is_some() && grant.expires_at() == self.grant.expires_at();
        // Of the end of the same token it is told once.
        if !is_same_end {
            self.tenure = Self::tenure(&grant, now, terms);
        }
        self.grant = grant;
    }

    /// Nobody was heard until `now`.
    pub(super) fn excuse(&mut self, now: Uptime, terms: Terms) {
        self.tenure.excuse(now, terms);
    }

    /// What is due `now`, see [`Tenure::look`].
    pub(super) fn look(&mut self, now: Uptime, is_unheard: impl FnOnce() -> bool) -> Due {
        self.tenure.look(now, || self.grant.expires_at(), is_unheard)
    }
}

/// When the credentials of a grant expire, as they say themselves, in Unix milliseconds; `None` where they do not.
pub(super) fn expires_at_ms(grant: &Grant) -> Option<u64> {
    grant.expires_at_unix().map(|seconds| seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fanfare_protocol::TopicRef;

    use super::*;
    use crate::access::{Access, RefusedToken};
    use crate::answer::Answer;
    use crate::operation::{admit, publish, subscribe};
    use crate::topic::Start;

    const TERMS: Terms =
        Terms { auth_timeout: Duration::from_secs(10), expiry_notice: Duration::from_secs(30) };

    fn session(grant: Arc<Grant>) -> Session {
        Session::new(grant, Uptime::now(), TERMS)
    }

    fn access() -> Access {
        let config = r#"
            [anonymous]
            subscribe = ["public:*"]
            [[token]]
            user = "alice"
            token = "alice-token-0123"
            subscribe = ["room:*"]
            publish = ["room:1"]
            [[token]]
            user = "alice"
            token = "alice-token-4567"
            [[token]]
            user = "bob"
            token = "bob-token-012345""#;
        Access::new(Some(&toml::from_str(config).expect("well-formed")), &Default::default()).expect("good")
    }

    fn now<T>(answer: Answer<T>) -> T {
        let Answer::Now(known) = answer else { panic!("it is known here") };
        known
    }

    fn named(topic: &str) -> TopicRef<'_> {
        TopicRef::new(topic).expect("a topic name")
    }

    fn may_subscribe(session: &Session, topic: &str) -> Result<(), Denied> {
        subscribe::leave(session.grant(), &named(topic), Start::History(0)).map(drop)
    }

    fn may_publish(session: &Session, topic: &str) -> Result<(), Denied> {
        publish::leave(session.grant(), &named(topic)).map(drop)
    }

    fn connect(session: &mut Session, access: &Access, token: &str) -> Result<(), RefusedToken> {
        let known = now(admit::admit(access, Some(token), &|| None)).expect("it is found out here");
        known.map(|grant| {
            session.regrant(grant, Uptime::now(), TERMS);
            session.connected();
        })
    }

    fn refresh(session: &mut Session, access: &Access, token: &str) -> Result<(), Denied> {
        let known = now(admit::refresh(access, session.grant(), token, &|| None));
        known.map(|grant| session.regrant(grant, Uptime::now(), TERMS))
    }

    #[test]
    fn without_credentials_only_the_public_is_open() {
        let session = session(access().grant(None).expect("anonymous"));
        assert_eq!(may_subscribe(&session, "public:1"), Ok(()));
        assert_eq!(may_subscribe(&session, "room:1").unwrap_err().code, ErrorCode::Unauthorized);
        assert_eq!(may_publish(&session, "public:1").unwrap_err().code, ErrorCode::Unauthorized);
    }

    #[test]
    fn connect_brings_the_grant_of_its_token_once() {
        let access = access();
        let mut session = session(access.grant(None).expect("anonymous"));
        assert_eq!(connect(&mut session, &access, "nobody's"), Err(RefusedToken::Unknown));
        assert_eq!(connect(&mut session, &access, "alice-token-0123"), Ok(()));
        assert_eq!(may_subscribe(&session, "room:2"), Ok(()));
        assert_eq!(may_publish(&session, "room:1"), Ok(()));
        assert_eq!(may_publish(&session, "room:2").unwrap_err().code, ErrorCode::Forbidden);
        assert_eq!(session.may_connect().unwrap_err().code, ErrorCode::BadRequest);
    }

    #[test]
    fn a_refresh_keeps_the_user_and_changes_the_grant() {
        let access = access();
        let mut session = session(access.grant(Some("alice-token-0123")).expect("known"));
        assert_eq!(
            refresh(&mut session, &access, "bob-token-012345").unwrap_err().code,
            ErrorCode::Forbidden
        );
        assert_eq!(refresh(&mut session, &access, "nobody's").unwrap_err().code, ErrorCode::Unauthorized);
        assert_eq!(may_publish(&session, "room:1"), Ok(()));
        assert_eq!(refresh(&mut session, &access, "alice-token-4567"), Ok(()));
        assert_eq!(may_publish(&session, "room:1").unwrap_err().code, ErrorCode::Forbidden);
    }
}
