//! Why there is no connection at the moment.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What another error was caused by.
pub(crate) type Cause = Arc<dyn StdError + Send + Sync>;

/// What kept a connection from being made, or ended it; another try follows.
///
/// Its text is for people and says all, its [kind](Self::kind) is for programs, and its [source](StdError::source) is the
/// error of the system or the library where there is one, whose text is part of this one's.
#[derive(Clone)]
pub struct Failure {
    kind: FailureKind,
    why: String,
    source: Option<Cause>,
}

/// Which step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The connection broke off.
    Broken,
    /// The broker closed the connection and may be asked again.
    Closed,
    /// The host could not be reached: refused, no route, or the like.
    Connect,
    /// The WebSocket handshake was not answered as one.
    Handshake,
    /// The host's name could not be looked up.
    Lookup,
    /// What came is not the protocol.
    Protocol,
    /// The proxy did not let it through.
    Proxy,
    /// The broker, or the credentials' check, refused for now.
    Refused,
    /// Nothing was heard any more.
    Silent,
    /// One try took longer than it may.
    TimedOut,
    /// TLS: the certificate is not trusted, or the other side speaks another protocol.
    Tls,
    /// The source of tokens had none.
    Token,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into(), source: None }
    }

    /// `what` failed with `source`.
    pub(crate) fn caused(
        kind: FailureKind,
        what: impl fmt::Display,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let source = Cause::from(source.into());
        Self { kind, why: format!("{what}: {source}"), source: Some(source) }
    }

    /// Which step failed.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.kind, self.why)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// By kind and text.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.why) == (other.kind, &other.why)
    }
}

impl Eq for Failure {}
