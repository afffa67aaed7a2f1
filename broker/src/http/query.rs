//! What a query says of topics and tokens.

use axum::http::Uri;
use fanfare_protocol::ErrorCode;
use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// The value of a key of the query, percent-decoded. A `+` in it is a `+` and not a blank, as a form would
/// have it: neither topics nor tokens hold blanks, and both may hold that.
pub(super) fn verbatim(uri: &Uri, key: &str) -> Result<Option<String>, Problem> {
    let Some(query) = uri.query() else { return Ok(None) };
    let pairs = query.split('&');
    let mut values = pairs.filter_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key));
    let Some((_, value)) = values.next() else { return Ok(None) };
    let bad = |why: &str| Problem::of(ErrorCode::BadRequest, format!("{key} {why}"));
    if values.next().is_some() {
        return Err(bad("stands twice in the query"));
    }
    let decoded = percent_decode_str(value).decode_utf8().map_err(|_| bad("is not UTF-8"))?;
    Ok(Some(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(query: &str) -> Option<String> {
        let uri = format!("/ws?{query}").parse().expect("a URI");
        verbatim(&uri, "topic").expect("good")
    }

    #[test]
    fn a_value_is_what_was_meant() {
        for (query, expected) in [
            ("", None),
            ("topics=a", None),
            ("a=topic", None),
            ("topic=", Some("")),
            ("x=1&topic=a%2Fb", Some("a/b")),
            ("topic=a+b%2B&y", Some("a+b+")),
            ("topic=a=b", Some("a=b")),
            ("topic=%E2%98%83", Some("\u{2603}")),
        ] {
            assert_eq!(value(query).as_deref(), expected, "{query}");
        }
        for bad in ["topic=a&topic=b", "topic=%ff"] {
            let uri = format!("/ws?{bad}").parse().expect("a URI");
            verbatim(&uri, "topic").expect_err(bad);
        }
    }
}
