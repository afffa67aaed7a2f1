//! Who may do what: grants, from tokens or for those without. It knows no operation but by name.

pub mod admin;
mod authority;
pub(crate) mod config;
#[doc(hidden)]
pub mod delayed;
mod metrics;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare_protocol::{ErrorCode, TopicName};
use sha2::{Digest, Sha256};

use crate::answer::{Answer, Refusal};
use crate::inbox::{GrantSeen, Later};
use crate::metrics::Registry;
use crate::pattern::Names;
use crate::setting::InvalidSetting;
pub use authority::Authority;
use config::{AccessConfig, GrantConfig, TokenConfig};
use metrics::RefusalCounter;

/// Shortest token that a configuration may hold, in bytes.
const TOKEN_BYTES_MIN: usize = 16;
/// Longest one, which a `connect` frame may still hold.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What the bearer of some credentials may do.
#[derive(Debug, Default)]
pub struct Grant {
    /// Who it is, if anybody in particular.
    pub user: Option<Arc<str>>,
    subscribe: Patterns,
    publish: Patterns,
    /// Set once: then nobody has it by right.
    is_revoked: AtomicBool,
    /// The counter of what is refused, which all grants have in common.
    refused: RefusalCounter,
}

impl Grant {
    /// Whether topics named so may be subscribed to, and their history read.
    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.subscribe.match_any(topic)
    }

    /// Whether topics named so may be published to.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish.match_any(topic)
    }

    /// Whether it was revoked. Whoever is told of a revocation by another thread finds it here.
    pub(crate) fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }

    /// Whether nothing at all may be done with it.
    pub fn is_empty(&self) -> bool {
        self.subscribe.0.is_empty() && self.publish.0.is_empty()
    }

    /// The topics named so that may be subscribed to and begin with `prefix`, in order.
    pub(crate) fn names(&self, prefix: &str) -> Vec<Names> {
        Names::in_order(self.subscribe.0.iter().map(Pattern::to_names), prefix)
    }

    /// What it allows, as patterns.
    pub(crate) fn seen(&self) -> GrantSeen {
        let written = |patterns: &Patterns| patterns.0.iter().map(Pattern::to_string).collect();
        GrantSeen { subscribe: written(&self.subscribe), publish: written(&self.publish) }
    }

    /// Whether there is no topic at all that may be published to.
    pub(crate) fn may_publish_nothing(&self) -> bool {
        self.publish.0.is_empty()
    }

    /// Why whoever has this grant may not do `what`, such as "publish to this topic". It is counted under the first
    /// word.
    pub(crate) fn refusal(&self, what: &'static str) -> (ErrorCode, String) {
        self.refused.count(what.split(' ').next().unwrap_or(what));
        match &self.user {
            _ if self.is_revoked() => (ErrorCode::Unauthorized, "the credentials were revoked".to_owned()),
            None => (ErrorCode::Unauthorized, format!("without credentials you may not {what}")),
            Some(_) => (ErrorCode::Forbidden, format!("your credentials do not let you {what}")),
        }
    }
}

/// Topic patterns.
#[derive(Debug, Default)]
struct Patterns(Vec<Pattern>);

#[derive(Debug)]
enum Pattern {
    All,
    Exact(String),
    Prefix(String),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Pattern {
    fn to_names(&self) -> Names {
        match self {
            Self::All => Names::Prefix(String::new()),
            Self::Exact(name) => Names::Exact(name.clone()),
            Self::Prefix(prefix) => Names::Prefix(prefix.clone()),
        }
    }
}

impl Patterns {
    fn match_any(&self, topic: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::All => true,
            Pattern::Exact(name) => name == topic,
            Pattern::Prefix(prefix) => topic.starts_with(prefix.as_str()),
        })
    }

    fn parse(key: &str, patterns: &[String]) -> Result<Self, InvalidSetting> {
        patterns.iter().map(|pattern| parse_pattern(key, pattern)).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_pattern(key: &str, pattern: &str) -> Result<Pattern, InvalidSetting> {
    let (name, prefix) = match pattern.strip_suffix('*') {
        Some("") => return Ok(Pattern::All),
        Some(prefix) => (prefix, true),
        None => (pattern, false),
    };
    name.parse::<TopicName>().map_err(|e| {
        let why = format!("\"{pattern}\" is no pattern, which is \"*\", \"room:*\" or a topic's name: {e}");
        InvalidSetting::new(key, why)
    })?;
    Ok(if prefix { Pattern::Prefix(name.to_owned()) } else { Pattern::Exact(name.to_owned()) })
}

/// The credentials are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not known")]
pub struct UnknownToken;

/// All grants.
#[derive(Debug)]
pub struct Access {
    anonymous: Arc<Grant>,
    /// The grants by the SHA-256 of the token, so that looking one up tells nothing by its time.
    by_token: HashMap<TokenHash, Arc<Grant>>,
    authority: Authority,
    is_open: bool,
    refused: RefusalCounter,
}

impl Access {
    /// The grants of a configuration; without one anybody may do everything.
    ///
    /// # Errors
    /// Names the key that is wrong. Reads token files.
    pub fn new(config: Option<&AccessConfig>) -> Result<Self, InvalidSetting> {
        let refused = RefusalCounter::default();
        let Some(config) = config else {
            let everything = || Patterns(vec![Pattern::All]);
            let (subscribe, publish) = (everything(), everything());
            let refused_here = refused.clone();
            let anonymous = Arc::new(Grant { subscribe, publish, refused: refused_here, ..Grant::default() });
            return Ok(Self {
                anonymous,
                by_token: HashMap::new(),
                authority: Authority::Configured,
                is_open: true,
                refused,
            });
        };
        let GrantConfig { subscribe, publish } = &config.anonymous;
        let anonymous = Arc::new(Grant {
            subscribe: Patterns::parse("access.anonymous.subscribe", subscribe)?,
            publish: Patterns::parse("access.anonymous.publish", publish)?,
            refused: refused.clone(),
            ..Grant::default()
        });
        let mut by_token = HashMap::new();
        for token in &config.token {
            let text = read_token(token)?;
            let grant = Grant {
                user: Some(token.user.as_str().into()),
                subscribe: Patterns::parse("access.token.subscribe", &token.subscribe)?,
                publish: Patterns::parse("access.token.publish", &token.publish)?,
                refused: refused.clone(),
                ..Grant::default()
            };
            if by_token.insert(digest(&text), Arc::new(grant)).is_some() {
                return wrong(format!("two tokens are the same, one of them for user \"{}\"", token.user));
            }
        }
        Ok(Self { anonymous, by_token, authority: Authority::Configured, is_open: false, refused })
    }

    /// This access, asking the authority before anybody is admitted with a token.
    pub(crate) fn asking(self, authority: Authority) -> Self {
        Self { authority, ..self }
    }

    /// Whether anybody may do everything.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Counts that an operation was refused, which is one of a few names.
    pub(crate) fn count_refused(&self, operation: &'static str) {
        self.refused.count(operation);
    }

    /// Enters what it counts.
    pub(crate) fn register(&self, registry: &Registry) {
        self.refused.register(registry);
    }

    /// What the bearer of `token` may do; without one, what anybody may.
    ///
    /// # Errors
    /// [`UnknownToken`]. Where access is open a token is not looked at.
    pub fn grant(&self, token: Option<&str>) -> Result<Arc<Grant>, UnknownToken> {
        match token {
            Some(token) if !self.is_open => self.grant_of(&digest(token)),
            _ => Ok(Arc::clone(&self.anonymous)),
        }
    }

    /// What the bearer of `token` may do, where it may have to be found out elsewhere whose it is: `later` promises to
    /// say then when to ask again. Waits for nobody.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be found out.
    pub(crate) fn find(
        &self,
        token: Option<&str>,
        later: Later<'_>,
    ) -> Answer<Result<Result<Arc<Grant>, UnknownToken>, Refusal>> {
        let token = match token {
            Some(token) if !self.is_open => digest(token),
            _ => return Answer::Now(Ok(Ok(Arc::clone(&self.anonymous)))),
        };
        let is_somebodys = self.by_token.contains_key(&token);
        self.authority.find(token, is_somebodys, later).map(|found| found.map(|()| self.grant_of(&token)))
    }

    fn grant_of(&self, token: &TokenHash) -> Result<Arc<Grant>, UnknownToken> {
        let grant = self.by_token.get(token).filter(|grant| !grant.is_revoked());
        grant.map(Arc::clone).ok_or_else(|| {
            self.count_refused("token");
            UnknownToken
        })
    }

    /// Revokes all grants of that user; says whether there are any.
    pub(crate) fn revoke(&self, user: &str) -> bool {
        let mut has_any = false;
        for grant in self.by_token.values().filter(|grant| grant.user.as_deref() == Some(user)) {
            grant.is_revoked.store(true, Ordering::Relaxed);
            has_any = true;
        }
        has_any
    }
}

/// The SHA-256 of a token, by which it is known: nobody who sees that can use it.
pub(crate) type TokenHash = [u8; 32];

fn digest(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

fn wrong<T>(message: String) -> Result<T, InvalidSetting> {
    Err(InvalidSetting::new("access.token", message))
}

fn read_token(config: &TokenConfig) -> Result<String, InvalidSetting> {
    let user = &config.user;
    if user.is_empty() || user.chars().any(|c| c.is_control() || c == '*' || c == '>') {
        return wrong(format!(
            "\"{user}\" is no user: it may not be empty or hold control characters, '*' or '>'"
        ));
    }
    let text = match (&config.token, &config.token_file) {
        (Some(token), None) => {
            token_of(token.as_bytes()).or_else(|why| wrong(format!("the token of user \"{user}\" {why}")))?
        }
        (None, Some(path)) => {
            let bytes =
                std::fs::read(path).or_else(|e| wrong(format!("{} cannot be read: {e}", path.display())))?;
            token_of(&bytes).or_else(|why| wrong(format!("the token in {} {why}", path.display())))?
        }
        _ => return wrong(format!("user \"{user}\" needs either token or token_file")),
    };
    if text.len() < TOKEN_BYTES_MIN {
        return wrong(format!("the token of user \"{user}\" is shorter than {TOKEN_BYTES_MIN} bytes"));
    }
    Ok(text)
}

/// The token that is written there: without the white space around it, and without the mark that some
/// editors put at the begin of a file.
///
/// # Errors
/// Says why no client could ever bring it, without quoting it.
pub fn token_of(bytes: &[u8]) -> Result<String, String> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes).trim_ascii();
    if let Some(at) = text.iter().position(|byte| !byte.is_ascii_graphic()) {
        let what = match text[at] {
            0xfe | 0xff if at == 0 => "UTF-16",
            0 => "a NUL",
            byte if byte.is_ascii_whitespace() => "a blank or a line's end",
            byte if byte.is_ascii() => "a control character",
            _ => "something that is not ASCII",
        };
        return Err(format!("holds {what}, at byte {}: only visible ASCII can be sent", at + 1));
    }
    if text.len() > TOKEN_BYTES_MAX {
        return Err(format!("is longer than {TOKEN_BYTES_MAX} bytes"));
    }
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> Result<Access, InvalidSetting> {
        Access::new(Some(&toml::from_str(text).expect("well-formed")))
    }

    #[test]
    fn an_empty_section_grants_nothing() {
        let grant = access("").expect("good").grant(None).expect("anonymous");
        assert!(!grant.may_subscribe("a") && !grant.may_publish("a"));
    }

    #[test]
    fn a_token_grants_what_its_patterns_say() {
        let access = access(
            r#"[[token]]
            user = "backend"
            token = "0123456789abcdef"
            subscribe = ["room:*", "news"]
            publish = ["*"]"#,
        )
        .expect("good");
        let grant = access.grant(Some("0123456789abcdef")).expect("known");
        assert_eq!(grant.user.as_deref(), Some("backend"));
        for (topic, may) in [("room:1", true), ("news", true), ("room", false), ("newsroom", false)] {
            assert_eq!(grant.may_subscribe(topic), may, "{topic}");
        }
        assert!(grant.may_publish("anything"));
        assert_eq!(access.grant(Some("0123456789abcdeF")).unwrap_err(), UnknownToken);
    }

    #[test]
    fn bad_access_is_refused_by_name() {
        for (text, expected) in [
            ("[anonymous]\nsubscribe = [\"a b\"]", "access.anonymous.subscribe"),
            ("[[token]]\nuser = \"u\"\ntoken = \"short\"", "shorter than 16"),
            ("[[token]]\nuser = \"\"\ntoken = \"0123456789abcdef\"", "is no user"),
            ("[[token]]\nuser = \"u\"", "needs either"),
            ("[[token]]\nuser = \"u\"\ntoken_file = \"/nowhere/at/all\"", "/nowhere/at/all"),
        ] {
            let error = access(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_token_is_mended_or_refused_never_kept_as_nobody_can_bring_it() {
        const TOKEN: &str = "0123456789abcdef";
        for good in ["0123456789abcdef", "  0123456789abcdef\r\n", "\u{feff}0123456789abcdef\n"] {
            assert_eq!(token_of(good.as_bytes()).as_deref(), Ok(TOKEN));
        }
        let utf16: Vec<u8> =
            [0xfeff].into_iter().chain(TOKEN.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for (bad, said) in [
            (&b"0123456789\0abcdef"[..], "a NUL, at byte 11"),
            (b"0123456789 abcdef", "a blank"),
            (b"0123456789abcdef\n0123456789abcdef", "a line's end"),
            (b"0123456789\x07abcdef", "a control character"),
            ("0123456789\u{e9}abcdef".as_bytes(), "not ASCII"),
            (b"0123456789\xffabcdef", "not ASCII"),
            (&utf16, "UTF-16"),
            (&[b'x'; 9000], "longer than"),
        ] {
            let why = token_of(bad).expect_err(said);
            assert!(why.contains(said) && !why.contains("0123"), "{why}");
        }
        let error = access("[[token]]\nuser = \"u\"\ntoken = \"0123456789 abcdef\"").unwrap_err().to_string();
        assert!(error.contains("access.token") && error.contains("user \"u\" holds a blank"), "{error}");
    }
}
