//! Who may do what: grants, from tokens or for those without. It knows no operation but by name.

pub mod admin;
mod authority;
pub(crate) mod config;
#[doc(hidden)]
pub mod delayed;
mod grant;
mod issue;
mod jwt;
mod metrics;
mod refused;
mod revocations;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jsonwebtoken::get_current_timestamp;

use crate::answer::{Answer, Refusal};
use crate::clock::Uptime;
use crate::inbox::Later;
use crate::metrics::Registry;
use crate::namespaces::config::NamespaceConfig;
use crate::pattern::InvalidPattern;
use crate::right::Right;
use crate::setting::InvalidSetting;
pub use authority::Authority;
use config::{AccessConfig, GrantConfig};
use grant::Rights;
pub use grant::{Grant, GrantEnd};
use issue::Issue;
pub(crate) use jwt::KeySet;
pub use jwt::mint::{NewToken, SigningSecret};
use jwt::{Jwts, Verified};
use metrics::RefusalCounter;
pub use refused::RefusedToken;
use revocations::Revocations;
pub use revocations::{Revocation, RevocationError};
pub(crate) use tokens::TokenHash;
use tokens::{TOKEN_BYTES_MIN, digest};
pub use tokens::{token_of, token_sha256};

/// The sections of the configuration that say what may be done with the topics of a namespace.
type NamespaceConfigs = BTreeMap<String, NamespaceConfig>;

/// All grants.
#[derive(Debug)]
pub struct Access {
    anonymous: Arc<Grant>,
    /// The grants by the SHA-256 of the token, so that looking one up tells nothing by its time.
    by_token: HashMap<TokenHash, Arc<Grant>>,
    /// By whom tokens may be signed that are not in the configuration.
    jwts: Jwts,
    /// What all may do who bring good credentials.
    authenticated: Arc<Rights>,
    revocations: Arc<Revocations>,
    authority: Authority,
    is_open: bool,
    refused: RefusalCounter,
}

impl Access {
    /// The grants of a configuration; without one anybody may do everything.
    ///
    /// # Errors
    /// Names the key that is wrong. Reads files with tokens and keys.
    pub fn new(config: Option<&AccessConfig>, namespaces: &NamespaceConfigs) -> Result<Self, InvalidSetting> {
        let refused = RefusalCounter::default();
        let Some(config) = config else {
            let anonymous = Grant { own: Rights::all(), refused: refused.clone(), ..Grant::default() };
            return Ok(Self {
                anonymous: Arc::new(anonymous),
                by_token: HashMap::new(),
                jwts: Jwts::default(),
                authenticated: Arc::default(),
                revocations: Arc::default(),
                authority: Authority::Configured,
                is_open: true,
                refused,
            });
        };
        let anonymous = Grant {
            own: parse_rights("access.anonymous", &config.anonymous)?,
            common: Arc::new(Rights::of_namespaces(namespaces, |namespace| &namespace.anonymous)),
            refused: refused.clone(),
            ..Grant::default()
        };
        if anonymous.own.are_of_user() {
            return Err(InvalidSetting::new("access.anonymous", "{user} is nobody there"));
        }
        let authenticated = parse_rights("access.authenticated", &config.authenticated)?
            .joined(&Rights::of_namespaces(namespaces, |namespace| &namespace.authenticated));
        let mut this = Self {
            anonymous: Arc::new(anonymous),
            by_token: HashMap::new(),
            jwts: Jwts::new(config)?,
            authenticated: Arc::new(authenticated),
            revocations: Arc::default(),
            authority: Authority::Configured,
            is_open: false,
            refused,
        };
        this.read_tokens(config)?;
        Ok(this)
    }

    fn read_tokens(&mut self, config: &AccessConfig) -> Result<(), InvalidSetting> {
        for token in &config.token {
            let hash = tokens::read(token)?;
            let grant = Grant {
                user: Some(token.user.as_str().into()),
                token: Some(tokens::number(&hash)),
                own: parse_rights("access.token", &token.grant())?,
                common: Arc::clone(&self.authenticated),
                refused: self.refused.clone(),
                ..Grant::default()
            };
            if grant.own.are_of_user() && token.user.contains(':') {
                return tokens::wrong(format!(
                    "{{user}} matches nothing for user \"{}\", whose id holds a ':'",
                    token.user
                ));
            }
            if self.by_token.insert(hash, Arc::new(grant)).is_some() {
                return tokens::wrong(format!(
                    "two tokens are the same, one of them for user \"{}\"",
                    token.user
                ));
            }
        }
        Ok(())
    }

    /// This access as the successor of an `older` one that has been in use: it goes on with what was revoked, what is counted, and
    /// the grants that are the same. Nothing changes for the older one or its grants until it is [retired](Self::retire).
    #[must_use]
    pub fn succeeding(mut self, older: &Self) -> Self {
        self.revocations = Arc::clone(&older.revocations);
        self.refused = older.refused.clone();
        if *self.authenticated == *older.authenticated {
            self.authenticated = Arc::clone(&older.authenticated);
        }
        let (authenticated, refused) = (&self.authenticated, &self.refused);
        for (hash, grant) in &mut self.by_token {
            match older.by_token.get(hash).filter(|old| old.is_same(grant)) {
                Some(old) => *grant = Arc::clone(old),
                None => *grant = Arc::new(grant.anew(authenticated, refused)),
            }
            if older.by_token.get(hash).is_some_and(|old| old.end() == Some(GrantEnd::Revoked)) {
                grant.end.revoke();
            }
        }
        self.anonymous = match older.anonymous.is_same(&self.anonymous) {
            true => Arc::clone(&older.anonymous),
            false => Arc::new(self.anonymous.anew(&self.anonymous.common, refused)),
        };
        // Where all with credentials may do something else now, none of their grants is what it was.
        let are_same = Arc::ptr_eq(&self.authenticated, &older.authenticated);
        self.jwts.succeed(&older.jwts, are_same);
        self
    }

    /// Ends the grants of this access that its `successor` does not have: of tokens and keys that went away, which are revoked, and
    /// of those that grant something else now, which are superseded. To be called once the successor counts. The workers are to
    /// be told.
    pub fn retire(&self, successor: &Self) {
        if self.is_open != successor.is_open {
            // Who anybody is was not asked where all is open: they come back with what they are now.
            self.anonymous.end.supersede();
            self.by_token.values().for_each(|grant| grant.end.supersede());
            self.jwts.keys().for_each(|key| key.end.supersede());
            return;
        }
        for (hash, grant) in &self.by_token {
            match successor.by_token.get(hash) {
                Some(same) if Arc::ptr_eq(same, grant) => {}
                Some(other) if other.user == grant.user => {
                    grant.go_on_as(other);
                    // It may have been revoked while its successor was made.
                    if grant.is_revoked() {
                        other.end.revoke();
                    }
                }
                Some(_) => grant.end.supersede(),
                None => grant.end.revoke(),
            }
        }
        if !Arc::ptr_eq(&self.anonymous, &successor.anonymous) {
            self.anonymous.go_on_as(&successor.anonymous);
        }
        self.jwts.retire(&successor.jwts);
    }

    /// What the credentials of a superseded grant are good for now; `None` where that cannot be told without them, for what their key
    /// is to be held against has changed.
    pub(crate) fn renewed(&self, grant: &Grant) -> Option<Arc<Grant>> {
        grant.renewed(&self.authenticated)
    }

    /// This access, asking the authority before anybody is admitted with a token.
    #[doc(hidden)]
    #[must_use]
    pub fn asking(self, authority: Authority) -> Self {
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

    /// The key sets that are to be fetched, again and again.
    pub(crate) fn fetched_sets(&self) -> Vec<Arc<KeySet>> {
        self.jwts.fetched_sets().map(Arc::clone).collect()
    }

    /// Enters what it counts.
    pub(crate) fn register(&self, registry: &Registry) {
        self.refused.register(registry);
    }

    /// What the bearer of `token` may do; without one, what anybody may.
    ///
    /// # Errors
    /// [`RefusedToken`], in all detail: not for whoever brings it. Where access is open a token is not looked at.
    pub fn grant(&self, token: Option<&str>) -> Result<Arc<Grant>, RefusedToken> {
        let Some(token) = token.filter(|_| !self.is_open) else { return Ok(Arc::clone(&self.anonymous)) };
        match self.by_token.get(&digest(token)) {
            Some(grant) if grant.is_revoked() => Err(RefusedToken::Revoked),
            Some(grant) => Ok(Arc::clone(grant)),
            None if self.jwts.is_empty() => Err(RefusedToken::Unknown),
            None => self.grant_signed(token),
        }
    }

    /// What the bearer of a signed token may do.
    fn grant_signed(&self, token: &str) -> Result<Arc<Grant>, RefusedToken> {
        let verified = self.jwts.verify(token)?;
        // First, so that what is revoked meanwhile is found later.
        let generation = self.revocations.generation();
        let Verified { user, rights, token_id, issued_at, expires_at_unix, time_left, key } = verified;
        let issue = Issue {
            bytes: rights.held_bytes() + user.len() + token_id.as_ref().map_or(0, |id| id.len()),
            expires_at: Uptime::now().plus(time_left),
            expires_at_unix,
            token_id,
            issued_at,
            key,
            revocations: Arc::clone(&self.revocations),
            checked: AtomicU64::new(generation.wrapping_sub(1)),
        };
        let grant = Grant {
            user: Some(user),
            own: rights,
            common: Arc::clone(&self.authenticated),
            issue: Some(Box::new(issue)),
            refused: self.refused.clone(),
            ..Grant::default()
        };
        if grant.is_revoked() { Err(RefusedToken::Revoked) } else { Ok(Arc::new(grant)) }
    }

    /// Whether it takes the verification of a signature to find out whose the token is.
    pub(crate) fn verifies(&self, token: &str) -> bool {
        !self.is_open && !self.jwts.is_empty() && !self.by_token.contains_key(&digest(token))
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
    ) -> Answer<Result<Result<Arc<Grant>, RefusedToken>, Refusal>> {
        let Some(token) = token.filter(|_| !self.is_open) else {
            return Answer::Now(Ok(Ok(Arc::clone(&self.anonymous))));
        };
        let asked = match &self.authority {
            Authority::Configured => Answer::Now(Ok(())),
            authority @ Authority::Delayed(_) => {
                let hash = digest(token);
                authority.find(hash, self.by_token.contains_key(&hash), later)
            }
        };
        asked.map(|found| {
            found?;
            match self.grant(Some(token)) {
                Err(RefusedToken::KeysMissing) => Err(Refusal::KeysMissing),
                Err(why) => {
                    self.count_refused("token");
                    Ok(Err(why.for_strangers()))
                }
                Ok(grant) => Ok(Ok(grant)),
            }
        })
    }

    /// What was revoked and is remembered, and for how long yet: up to `most` of what comes after that
    /// [cursor](Revocation::cursor).
    pub(crate) fn revoked(&self, after: Option<&str>, most: usize) -> Vec<(Revocation, Duration)> {
        self.revocations.list(after, most)
    }

    /// Revokes, at once for whoever asks a grant; who is connected is found by the workers, who are to be told.
    ///
    /// # Errors
    /// [`RevocationError`]: nothing was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation) -> Result<(), RevocationError> {
        let window = self.jwts.window;
        // No token that is there now is good for longer.
        let remember = Duration::from_secs(window.lifetime_max.saturating_add(2 * window.leeway));
        // Whoever issued the latest may be ahead by the leeway, and says so in whole seconds.
        let latest = get_current_timestamp().saturating_add(window.leeway).saturating_add(1);
        match revocation {
            Revocation::User { issued_before: Some(issued), .. } | Revocation::IssuedBefore(issued)
                if *issued > latest =>
            {
                Err(RevocationError::Future)
            }
            Revocation::User { user, issued_before } => {
                tokens::check_user(user).map_err(|_| RevocationError::Nobody)?;
                let issued = issued_before.unwrap_or(latest);
                self.revocations.revoke_user(user, issued, remember)?;
                if issued_before.is_none() {
                    let of_user = |grant: &&Arc<Grant>| grant.user.as_deref() == Some(user);
                    self.by_token.values().filter(of_user).for_each(|grant| grant.end.revoke());
                }
                Ok(())
            }
            Revocation::TokenId(id) if id.is_empty() || id.len() > revocations::TOKEN_ID_BYTES_MAX => {
                Err(RevocationError::Nobody)
            }
            Revocation::TokenId(id) => self.revocations.revoke_id(id, remember),
            Revocation::IssuedBefore(issued) => {
                self.revocations.revoke_all(*issued, remember);
                Ok(())
            }
        }
    }
}

fn parse_rights(section: &str, grant: &GrantConfig) -> Result<Rights, InvalidSetting> {
    Rights::parse(grant).map_err(|(right, why): (Right, InvalidPattern)| {
        InvalidSetting::new(format!("{section}.{}", right.as_str()), why.to_string())
    })
}

#[cfg(test)]
mod tests;
