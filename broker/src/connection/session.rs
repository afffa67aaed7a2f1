//! The protocol's rules for one connection: who it is and what it may do. Pure.

use std::sync::Arc;

use fanfare_protocol::{ClientOp, ErrorCode};

use crate::access::{Access, Grant, UnknownToken};

/// The state of one connection's conversation.
#[derive(Debug)]
pub(crate) struct Session {
    grant: Arc<Grant>,
    said_connect: bool,
}

/// Why an operation is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

pub(crate) fn denied(code: ErrorCode, message: impl Into<String>) -> Denied {
    Denied { code, message: message.into() }
}

impl Session {
    pub(crate) fn new(grant: Arc<Grant>) -> Self {
        Self { grant, said_connect: false }
    }

    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        self.grant.user.as_ref()
    }

    /// Whether it may do nothing (yet).
    pub(crate) fn is_stranger(&self) -> bool {
        self.grant.is_empty()
    }

    /// Whether the operation is allowed at all.
    pub(crate) fn admit(&self, op: &ClientOp<'_>) -> Result<(), Denied> {
        match op {
            ClientOp::Connect { .. } if self.said_connect => {
                Err(denied(ErrorCode::BadRequest, "this connection has sent \"connect\" before"))
            }
            ClientOp::History { topic, .. } => self.may_subscribe(topic.as_str()),
            ClientOp::Presence { .. } => Err(no_presence()),
            ClientOp::Publish(publish) => self.may_publish(publish.topic.as_str()),
            ClientOp::Subscribe(subscribe) if subscribe.presence => Err(no_presence()),
            ClientOp::Subscribe(subscribe) => self.may_subscribe(subscribe.topic.as_str()),
            ClientOp::Connect { .. }
            | ClientOp::Ping
            | ClientOp::Refresh { .. }
            | ClientOp::Unsubscribe { .. } => Ok(()),
        }
    }

    pub(crate) fn may_subscribe(&self, topic: &str) -> Result<(), Denied> {
        self.allowed(self.grant.may_subscribe(topic), "subscribe to this topic")
    }

    pub(crate) fn may_publish(&self, topic: &str) -> Result<(), Denied> {
        self.allowed(self.grant.may_publish(topic), "publish to this topic")
    }

    fn allowed(&self, is_allowed: bool, what: &'static str) -> Result<(), Denied> {
        let refused = || {
            let (code, message) = self.grant.refusal(what);
            denied(code, message)
        };
        is_allowed.then_some(()).ok_or_else(refused)
    }

    /// Takes the credentials of a `connect`; without a token those of the HTTP request stay.
    pub(crate) fn connect(&mut self, access: &Access, token: Option<&str>) -> Result<(), UnknownToken> {
        if let Some(token) = token {
            self.grant = access.grant(Some(token))?;
        }
        self.said_connect = true;
        Ok(())
    }

    /// Takes new credentials of the same user.
    pub(crate) fn refresh(&mut self, access: &Access, token: &str) -> Result<(), Denied> {
        let grant = access.grant(Some(token)).map_err(|e| denied(ErrorCode::Unauthorized, e.to_string()))?;
        if grant.user != self.grant.user {
            access.refused().with_label_values(&["refresh"]).inc();
            return Err(denied(ErrorCode::Forbidden, "a refresh may not change the user"));
        }
        self.grant = grant;
        Ok(())
    }
}

fn no_presence() -> Denied {
    denied(ErrorCode::BadRequest, "this server does not offer presence")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_protocol::{Subscribe, TopicRef};

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
        Access::new(Some(&toml::from_str(config).expect("well-formed"))).expect("good")
    }

    fn subscribe(topic: &str) -> ClientOp<'_> {
        ClientOp::Subscribe(Subscribe::new(TopicRef::new(topic).expect("a topic")))
    }

    #[test]
    fn without_credentials_only_the_public_is_open() {
        let session = Session::new(access().grant(None).expect("anonymous"));
        assert_eq!(session.admit(&subscribe("public:1")), Ok(()));
        assert_eq!(session.admit(&subscribe("room:1")).unwrap_err().code, ErrorCode::Unauthorized);
        assert_eq!(session.may_publish("public:1").unwrap_err().code, ErrorCode::Unauthorized);
    }

    #[test]
    fn connect_brings_the_grant_of_its_token_once() {
        let access = access();
        let mut session = Session::new(access.grant(None).expect("anonymous"));
        assert_eq!(session.connect(&access, Some("nobody's")), Err(UnknownToken));
        assert_eq!(session.connect(&access, Some("alice-token-0123")), Ok(()));
        assert_eq!(session.admit(&subscribe("room:2")), Ok(()));
        assert_eq!(session.may_publish("room:1"), Ok(()));
        assert_eq!(session.may_publish("room:2").unwrap_err().code, ErrorCode::Forbidden);
        let again = ClientOp::Connect { token: None, name: None, version: None };
        assert_eq!(session.admit(&again).unwrap_err().code, ErrorCode::BadRequest);
    }

    #[test]
    fn a_refresh_keeps_the_user_and_changes_the_grant() {
        let access = access();
        let mut session = Session::new(access.grant(Some("alice-token-0123")).expect("known"));
        assert_eq!(session.refresh(&access, "bob-token-012345").unwrap_err().code, ErrorCode::Forbidden);
        assert_eq!(session.refresh(&access, "nobody's").unwrap_err().code, ErrorCode::Unauthorized);
        assert_eq!(session.may_publish("room:1"), Ok(()));
        assert_eq!(session.refresh(&access, "alice-token-4567"), Ok(()));
        assert_eq!(session.may_publish("room:1").unwrap_err().code, ErrorCode::Forbidden);
    }
}
