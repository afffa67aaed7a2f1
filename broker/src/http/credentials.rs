//! Who asks, by the credentials of an HTTP request.
//!
//! There are several ways to bring a token, and one of them is enough. Two that do not say the same are no good: nobody is
//! to be taken for somebody whom another way names.

use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderValue};
use fanfare_protocol::ErrorCode;

use super::origin;
use super::question::known;
use crate::access::{Grant, GrantEnd, RefusedToken};
use crate::hub::Hub;
use crate::inbox::Claim;
use crate::operation::Denied;
use crate::operation::admit::admit;

/// What the subprotocol begins with that is no protocol but a token.
const SUBPROTOCOL: &str = "bearer.";

/// The ways that a request may bring a token by, beside `Authorization`.
#[derive(Debug, Clone, Copy, Default)]
struct Ways<'t, 'c> {
    /// What the query says.
    query: Option<&'t str>,
    /// Whether it may be a subprotocol.
    subprotocol: bool,
    /// The cookie that may hold it.
    cookie: Option<&'c str>,
}

/// The grant of the token that a request for a WebSocket brings, in whatever way; of what anybody may, where it brings none.
///
/// # Errors
/// [`RefusedToken`], also where what is brought is no token, or two that differ: who brings credentials does not want to
/// be taken for a stranger. [`Denied`]: it cannot be found out.
pub(super) async fn of_websocket(
    hub: &Hub,
    worker: usize,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Result<Arc<Grant>, RefusedToken>, Denied> {
    let token = {
        let config = hub.config();
        let cookie = config.access.as_ref().and_then(|access| access.cookie.as_deref());
        // A browser sends cookies along with whatever page asks.
        let server = &config.server;
        let cookie =
            cookie.filter(|_| origin::vouches(&server.allowed_origins, server.tls.is_some(), headers));
        brought(headers, Ways { query, subprotocol: true, cookie })
    };
    grant(hub, worker, token).await
}

/// The same of a request to the HTTP API, which brings it in the `Authorization` header alone.
///
/// # Errors
/// As for [`of_websocket`].
pub(super) async fn of_request(
    hub: &Hub,
    worker: usize,
    headers: &HeaderMap,
) -> Result<Result<Arc<Grant>, RefusedToken>, Denied> {
    grant(hub, worker, brought(headers, Ways::default())).await
}

async fn grant(
    hub: &Hub,
    worker: usize,
    token: Result<Option<&str>, RefusedToken>,
) -> Result<Result<Arc<Grant>, RefusedToken>, Denied> {
    // Where there is nothing to guard nobody asks.
    let token = match token {
        _ if hub.access().is_open() => None,
        Ok(token) => token,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let inbox = &hub.workers[worker].inbox;
    Ok(known(Claim::Stranger, inbox, |later| admit(&hub.access(), token, later)).await??)
}

/// The one token that is brought, if any is.
fn brought<'t>(headers: &'t HeaderMap, ways: Ways<'t, '_>) -> Result<Option<&'t str>, RefusedToken> {
    let in_query = ways.query.filter(|token| !token.is_empty()).map(Ok);
    if headers.get_all(AUTHORIZATION).iter().count() > 1 {
        // Somebody has added one, be it the same.
        return Err(RefusedToken::Unknown);
    }
    let authorized = headers.get(AUTHORIZATION).map(|value| bearer(value).ok_or(RefusedToken::Unknown));
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter(|_| ways.subprotocol);
    let offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let offered = offered.filter_map(|offer| offer.trim().strip_prefix(SUBPROTOCOL));
    let offered = offered.map(|token| if token.is_empty() { Err(RefusedToken::Unknown) } else { Ok(token) });
    let baked = ways.cookie.into_iter().flat_map(|name| cookies(headers, name)).map(Ok);
    let mut found = None;
    for token in authorized.into_iter().chain(in_query).chain(offered).chain(baked) {
        let token = token?;
        if found.replace(token).is_some_and(|before| before != token) {
            return Err(RefusedToken::Unknown);
        }
    }
    Ok(found)
}

/// What the credentials of a request that takes its time grant by now: the configuration may have changed meanwhile.
///
/// # Errors
/// [`Denied`]: that cannot be told without them, so they are to be brought again.
pub(super) fn current(hub: &Hub, grant: &Arc<Grant>) -> Result<Arc<Grant>, Denied> {
    if grant.taken_back() != Some(GrantEnd::Superseded) {
        return Ok(Arc::clone(grant));
    }
    let why = || Denied::new(ErrorCode::Unavailable, "what the credentials grant has changed: ask again");
    hub.access().renewed(grant).ok_or_else(why)
}

/// The token of `Bearer TOKEN`.
pub(super) fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The values of the cookies of that name that are not empty (RFC 6265, section 5.4). A browser sends two where they were set for
/// different paths or domains; which of them is meant nobody can tell.
fn cookies<'t>(headers: &'t HeaderMap, name: &str) -> impl Iterator<Item = &'t str> {
    // What other cookies hold need be no text.
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let pairs = lines.flat_map(|line| line.split(|&byte| byte == b';'));
    let values = pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        std::str::from_utf8(value).ok()
    });
    values
        .map(|value| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    const ALL: Ways<'static, 'static> = Ways { query: None, subprotocol: true, cookie: Some("session") };

    fn headers(lines: &[(&HeaderName, &str)]) -> HeaderMap {
        let line = |&(name, value): &(&HeaderName, &str)| {
            (name.clone(), HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"))
        };
        lines.iter().map(line).collect()
    }

    const A: &HeaderName = &AUTHORIZATION;
    const P: &HeaderName = &SEC_WEBSOCKET_PROTOCOL;
    const C: &HeaderName = &COOKIE;

    #[test]
    fn each_way_brings_the_token_as_it_is_written() {
        for (lines, query, expected) in [
            (&[][..], None, None),
            (&[(A, "Bearer t-1")], None, Some("t-1")),
            (&[(A, "bEARER   t-1 ")], None, Some("t-1")),
            (&[], Some("a+b/c=="), Some("a+b/c==")),
            (&[], Some(""), None),
            (&[(P, "fanfare.v1.json, bearer.t-1")], None, Some("t-1")),
            (&[(P, "bearer.eyJ.eyJ.s_-g")], None, Some("eyJ.eyJ.s_-g")),
            (&[(P, "fanfare.v1.msgpack"), (P, "bearer.t-1")], None, Some("t-1")),
            (&[(P, "fanfare.v1.json,Bearer.t-1")], None, None),
            (&[(P, "fanfare.v1.json,xbearer.t-1")], None, None),
            (&[(C, "session=t-1")], None, Some("t-1")),
            (&[(C, "a=b; session=t-1==;c")], None, Some("t-1==")),
            (&[(C, "a=b"), (C, "session=\"t-1\"")], None, Some("t-1")),
            (&[(C, "Session=t-1; sessions=t-2; xsession=t-3; session")], None, None),
            (&[(C, "session=")], None, None),
        ] {
            assert_eq!(brought(&headers(lines), Ways { query, ..ALL }), Ok(expected), "{lines:?} {query:?}");
        }
    }

    #[test]
    fn what_is_brought_and_is_no_token_is_no_stranger_s() {
        for lines in [
            &[(A, "Basic dXNlcjpwYXNz")][..],
            &[(A, "Bearer")],
            &[(A, "")],
            &[(A, "t-1")],
            &[(A, "Bearer t\u{f6}ken")],
            &[(A, "Bearer t-1"), (A, "Bearer t-1")],
            &[(P, "fanfare.v1.json, bearer.")],
        ] {
            assert_eq!(brought(&headers(lines), ALL), Err(RefusedToken::Unknown), "{lines:?}");
        }
    }

    #[test]
    fn two_ways_that_differ_bring_nobody_and_two_that_agree_are_one() {
        type Way<'w> = (&'w [(&'w HeaderName, &'w str)], Option<&'w str>);
        let ways: [Way<'_>; 4] = [
            (&[(A, "Bearer TOKEN")], None),
            (&[], Some("TOKEN")),
            (&[(P, "fanfare.v1.json, bearer.TOKEN")], None),
            (&[(C, "session=TOKEN")], None),
        ];
        for (nth, (one, of_one)) in ways.iter().enumerate() {
            for (mth, (other, of_other)) in ways.iter().enumerate() {
                let bring = |other_token: &str| {
                    let mut all = headers(one);
                    for (name, value) in *other {
                        all.append(*name, value.replace("TOKEN", other_token).parse().expect("a value"));
                    }
                    let query = of_other.map(|_| other_token).or(*of_one);
                    brought(&all, Ways { query, ..ALL }).map(|token| token.map(str::to_owned))
                };
                if nth != mth {
                    assert_eq!(bring("TOKEN"), Ok(Some("TOKEN".to_owned())), "{nth} {mth}");
                    assert_eq!(bring("another"), Err(RefusedToken::Unknown), "{nth} {mth}");
                }
            }
        }
        for twice in [(P, "bearer.t-1, bearer.t-2"), (C, "session=t-1; session=t-2")] {
            assert_eq!(brought(&headers(&[twice]), ALL), Err(RefusedToken::Unknown), "{twice:?}");
        }
    }

    #[test]
    fn a_request_to_the_api_brings_its_token_in_one_way() {
        let lines = [(P, "bearer.t-1"), (C, "session=t-2")];
        assert_eq!(brought(&headers(&lines), Ways::default()), Ok(None));
        assert_eq!(brought(&headers(&[(A, "Bearer t-3"), lines[1]]), Ways::default()), Ok(Some("t-3")));
        // The cookie counts for nothing where its page is not known.
        let cookie = headers(&lines[1..]);
        assert_eq!(brought(&cookie, Ways { cookie: None, ..ALL }), Ok(None));
    }
}
