//! What is limited, and over whom it is counted together.

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// New connections.
    Connections,
    /// Frames of whatever type, and HTTP requests.
    Frames,
    /// Publications, through whatever door.
    Publishes,
    /// What begins to read a topic, or reads its past.
    Subscribes,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Connections, Self::Frames, Self::Publishes, Self::Subscribes];

    /// Its name, in keys and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Frames => "frames",
            Self::Publishes => "publishes",
            Self::Subscribes => "subscribes",
        }
    }
}

/// Over whom it is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One WebSocket.
    Connection,
    /// All that come from one address.
    Ip,
    /// All that bring one static token.
    Token,
    /// All of one user.
    User,
}

impl Scope {
    pub(crate) const ALL: [Self; 4] = [Self::Connection, Self::Ip, Self::Token, Self::User];
    /// Those that several connections may share.
    pub(crate) const SHARED: [Self; 3] = [Self::Ip, Self::Token, Self::User];

    /// Its name, in keys and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Ip => "ip",
            Self::Token => "token",
            Self::User => "user",
        }
    }
}
