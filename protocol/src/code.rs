//! Error codes and WebSocket close codes.

use std::fmt;
use std::str::FromStr;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, retryable: $retryable:literal;)+) => {
        /// Why a frame or a request was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $variant,)+ }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Whether the same frame may succeed later.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }
        }

        impl FromStr for ErrorCode {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}

error_codes! {
    /// The frame has an unknown type, or a field that is missing or wrong.
    BadRequest = "bad_request", retryable: false;
    /// The credentials do not allow it.
    Forbidden = "forbidden", retryable: false;
    /// The server failed.
    Internal = "internal", retryable: true;
    /// The name is no topic name.
    InvalidTopic = "invalid_topic", retryable: false;
    /// A bound was reached that the sender can make room under.
    LimitExceeded = "limit_exceeded", retryable: false;
    /// The connection does not subscribe to that topic.
    NotSubscribed = "not_subscribed", retryable: false;
    /// Too much at once: the same frame may succeed a little later.
    RateLimited = "rate_limited", retryable: true;
    /// The message is larger than the server takes.
    TooLarge = "too_large", retryable: false;
    /// Credentials are missing, bad or expired.
    Unauthorized = "unauthorized", retryable: false;
    /// The server cannot do it now, and may a little later.
    Unavailable = "unavailable", retryable: true;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A WebSocket close code.
///
/// A client decides on codes it does not know by their [range](Self::range) alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The conversation is done.
    pub const NORMAL: Self = Self(1000);
    /// The peer is going away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The WebSocket protocol was violated.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A text frame on a binary encoding or the reverse.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_UTF8: Self = Self(1007);
    /// A message above the limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// The server restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The server is overloaded.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// What was sent is no frame of this protocol.
    pub const BAD_FRAME: Self = Self(4400);
    /// Credentials are missing, bad or expired.
    pub const UNAUTHORIZED: Self = Self(4401);
    /// The credentials do not allow it.
    pub const FORBIDDEN: Self = Self(4403);
    /// Another connection took this one's place.
    pub const REPLACED: Self = Self(4409);
    /// The server failed.
    pub const INTERNAL: Self = Self(4500);
    /// The server shuts down or is overloaded.
    pub const UNAVAILABLE: Self = Self(4503);
    /// No traffic, no whole message or no handshake in time.
    pub const TIMEOUT: Self = Self(4504);
    /// The reader fell too far behind.
    pub const TOO_SLOW: Self = Self(4508);
    /// A rate limit was reached.
    pub const RATE_LIMITED: Self = Self(4529);

    /// The code with this number.
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The code as a number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What the code asks of the client.
    pub const fn range(self) -> CloseRange {
        match self.0 {
            1000 | 1003 | 1007 | 1009 | 1010 | 4400..=4499 => CloseRange::StayAway,
            _ => CloseRange::ComeBack,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a close code asks of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseRange {
    /// Connect again, with back-off.
    ComeBack,
    /// Do not come back unchanged: the same would happen again.
    StayAway,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_close_codes_are_judged_by_their_range() {
        for code in [4400, 4450, 4499, 1000, 1009] {
            assert_eq!(CloseCode::new(code).range(), CloseRange::StayAway, "{code}");
        }
        for code in [1001, 1002, 1006, 1011, 1012, 1013, 3000, 4000, 4500, 4599, 4999] {
            assert_eq!(CloseCode::new(code).range(), CloseRange::ComeBack, "{code}");
        }
    }

    #[test]
    fn an_error_code_reads_back_as_itself() {
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
    }
}
