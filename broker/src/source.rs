//! The door by which a publication came in, and how the metrics name it.

/// How a publication came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The HTTP API.
    Http,
    /// A raw WebSocket.
    Raw,
    /// A native WebSocket.
    WebSocket,
}

impl Source {
    pub(crate) const ALL: [Self; 3] = [Self::Http, Self::Raw, Self::WebSocket];

    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Raw => "raw",
            Self::WebSocket => "websocket",
        }
    }
}
