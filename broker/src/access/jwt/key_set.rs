//! A set of public keys, from a file or from a URL.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::super::config::JwtAlgorithm;
use super::super::refused::RefusedToken;
use super::entry::SigningKey;
use super::jwks::{KeysById, parse};
use crate::clock::{Uptime, unix_ms};
use crate::fetch::Target;

/// A set of public keys, and where it is from. What it is cached by is its entry in the configuration, so that the id of a key
/// means nothing outside of that.
#[derive(Debug)]
pub(crate) struct KeySet {
    algorithm: JwtAlgorithm,
    source: Source,
    held: ArcSwap<Held>,
    /// Told when a token names a key that is not there. It remembers that it was told, not how often nor by whom.
    asked: Notify,
    /// Whether nothing is taken any more. Locked by whoever takes, or ends that.
    is_over: Mutex<bool>,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Url(Box<Target>),
}

/// What is known of a set.
#[derive(Debug, Default)]
struct Held {
    keys: KeysById,
    /// When it was fetched last; `None` where it was not, as that of a file.
    fetched: Option<Fetched>,
}

/// When a set was fetched.
#[derive(Debug, Clone, Copy)]
struct Fetched {
    at: Uptime,
    /// Until when nobody will ask for it again: a key that is not in it is none.
    settled_until: Uptime,
    unix_ms: u64,
}

/// What has come of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Keys that have come.
    pub(crate) added: usize,
    /// Keys that are gone: by them nobody is admitted any more, and the grants by them have ended.
    pub(crate) removed: usize,
}

impl KeySet {
    /// The set that is written in a file.
    ///
    /// # Errors
    /// Says why it cannot be used.
    pub(super) fn of_file(algorithm: JwtAlgorithm, path: &Path, text: &[u8]) -> Result<Arc<Self>, String> {
        let held = Held { keys: parse(algorithm, text)?, fetched: None };
        Ok(Self::new(algorithm, Source::File(path.to_owned()), held))
    }

    /// The set that is there, once somebody has fetched it.
    pub(super) fn of_url(algorithm: JwtAlgorithm, target: Target) -> Arc<Self> {
        Self::new(algorithm, Source::Url(Box::new(target)), Held::default())
    }

    fn new(algorithm: JwtAlgorithm, source: Source, held: Held) -> Arc<Self> {
        let held = ArcSwap::from_pointee(held);
        Arc::new(Self { algorithm, source, held, asked: Notify::new(), is_over: Mutex::default() })
    }

    /// The key of that id; where a token names none and there is only one, that. What was fetched counts for `max_age`.
    ///
    /// # Errors
    /// [`RefusedToken`]: there is none, or it is not known whether there is.
    pub(super) fn find(&self, kid: Option<&str>, max_age: Duration) -> Result<SigningKey, RefusedToken> {
        let held = self.held.load();
        if self.target().is_some() && held.fetched.is_none_or(|fetched| fetched.at.elapsed() >= max_age) {
            return Err(RefusedToken::KeysMissing);
        }
        let found = match kid {
            Some(kid) => held.keys.get(kid),
            None if held.keys.len() == 1 => held.keys.values().next(),
            None => None,
        };
        let is_to_be_asked = |fetched: &Fetched| kid.is_some() && Uptime::now() >= fetched.settled_until;
        found.cloned().ok_or_else(|| match held.fetched {
            Some(fetched) if is_to_be_asked(&fetched) => RefusedToken::KeysMissing,
            _ => RefusedToken::Key,
        })
    }

    /// Has it fetched soon, if a key of that id is not in it. Costs the same however often that is.
    pub(super) fn ask(&self, kid: Option<&str>) {
        if kid.is_some_and(|kid| !self.held.load().keys.contains_key(kid)) {
            self.asked.notify_one();
        }
    }

    /// Where it is fetched from; `None` where it is not fetched.
    pub(crate) fn target(&self) -> Option<&Target> {
        match &self.source {
            Source::File(_) => None,
            Source::Url(target) => Some(target),
        }
    }

    /// Waits until a token names a key that is not there.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// When it was fetched last, in Unix milliseconds.
    pub(crate) fn fetched_unix_ms(&self) -> Option<u64> {
        Some(self.held.load().fetched?.unix_ms)
    }

    /// Goes on with what was fetched: asked for `at` that moment, and not to be asked for again before `settled_until`. Keys that
    /// stay keep their grants, those of the others end; the workers are to be told.
    ///
    /// # Errors
    /// Says why it cannot be used; nothing has changed.
    pub(crate) fn take(&self, text: &[u8], at: Uptime, settled_until: Uptime) -> Result<Taken, String> {
        let mut keys = parse(self.algorithm, text)?;
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_over {
            return Ok(Taken { added: 0, removed: 0 });
        }
        let old = self.held.load_full();
        let kept = keep_same(&mut keys, &old.keys);
        let added = keys.len() - kept;
        let fetched = Some(Fetched { at, settled_until, unix_ms: unix_ms() });
        self.held.store(Arc::new(Held { keys, fetched }));
        let held = self.held.load();
        let mut removed = 0;
        for (kid, key) in &old.keys {
            if held.keys.get(kid).is_none_or(|now| !Arc::ptr_eq(&now.end, &key.end)) {
                key.end.revoke();
                removed += 1;
            }
        }
        Ok(Taken { added, removed })
    }

    /// Takes nothing any more: what is in it now is all that has to be ended.
    pub(super) fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Whether it is from the same source.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.source == other.source && self.algorithm == other.algorithm
    }

    /// Goes on with those keys of an older set that are in it as well, and so with their grants.
    pub(super) fn succeed(&self, older: &Self) {
        let mut keys = self.held.load().keys.clone();
        keep_same(&mut keys, &older.held.load().keys);
        self.held.store(Arc::new(Held { keys, fetched: None }));
    }

    /// Begins with what an older set from the same URL holds, but not with its grants.
    pub(super) fn begin_with(&self, older: &Self) {
        let held = older.held.load();
        let anew = |key: &SigningKey| SigningKey::new(key.key.clone());
        let keys = held.keys.iter().map(|(kid, key)| (kid.clone(), anew(key))).collect();
        self.held.store(Arc::new(Held { keys, fetched: held.fetched }));
    }

    /// The keys that are in it now.
    pub(super) fn keys(&self) -> Vec<SigningKey> {
        self.held.load().keys.values().cloned().collect()
    }
}

/// Puts the old keys in the places of those that are the same, and says how many they are.
fn keep_same(keys: &mut KeysById, old: &KeysById) -> usize {
    let mut kept = 0;
    for (kid, key) in keys {
        if let Some(old) = old.get(kid).filter(|old| old.is_same(key)) {
            *key = old.clone();
            kept += 1;
        }
    }
    kept
}
