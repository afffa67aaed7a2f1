use super::*;

fn matches(pattern: &str, user: Option<&str>, name: &str) -> bool {
    let patterns = Patterns::parse(&[pattern]).expect(pattern);
    let matches = patterns.match_any(name, user);
    let listed = patterns.names(user).any(|names| names.cover(&Names::Exact(name.to_owned())));
    assert_eq!(matches, listed, "{pattern} for {user:?}: {name} is listed as it is matched");
    matches
}

#[test]
fn a_name_that_almost_matches_does_not() {
    const TABLE: &[(&str, &[&str], &[&str])] = &[
        ("*", &["a", "room:4", "{x}"], &[]),
        (
            "room:4",
            &["room:4"],
            &["room:42", "room:", "room", "room:04", "Room:4", "room:4:", "room%3A4", "room:%34", "xroom:4"],
        ),
        (
            "room:*",
            &["room:", "room:4", "room:4:5"],
            &[
                "room",
                "roomx:1",
                "Room:1",
                "ROOM:1",
                "room;1",
                "room%3a1",
                "r\u{43e}om:1",
                "\u{ff52}oom:1",
                "room\u{ff1a}1",
            ],
        ),
        ("room*", &["room", "roomx", "room:1"], &["roo", "Room", "xroom"]),
        // The same to the eye, other bytes: e with an accent, in one and in two characters.
        ("caf\u{e9}", &["caf\u{e9}"], &["cafe\u{301}", "cafe", "caf\u{c9}"]),
        ("a/b", &["a/b"], &["a%2Fb", "a//b", "a/./b", "a/b/"]),
    ];
    for (pattern, those, not) in TABLE {
        for name in *those {
            assert!(
                matches(pattern, Some("alice"), name) && matches(pattern, None, name),
                "{pattern}: {name}"
            );
        }
        for name in *not {
            assert!(
                !matches(pattern, Some("alice"), name) && !matches(pattern, None, name),
                "{pattern}: {name}"
            );
        }
    }
}

#[test]
fn the_place_of_a_user_is_of_nobody_else() {
    const TABLE: &[(&str, &str, &[&str], &[&str])] = &[
        (
            "inbox:{user}",
            "al",
            &["inbox:al"],
            &["inbox:alice", "inbox:a", "inbox:al:x", "inbox:{user}", "inbox:Al", "inbox:u"],
        ),
        ("inbox:{user}:*", "al", &["inbox:al:", "inbox:al:x"], &["inbox:al", "inbox:alice:x", "inbox:a:l"]),
        // Would otherwise reach into the place of `a`.
        ("inbox:{user}:*", "a:b", &[], &["inbox:a:b:x", "inbox:a:x"]),
        ("inbox:{user}", "a:b", &[], &["inbox:a:b"]),
        ("inbox:{user}", "", &[], &["inbox:", "inbox:{user}"]),
        ("{user}", "al", &["al"], &["a", "alice"]),
        ("{user}:*", "al", &["al:", "al:x"], &["al", "alice:x"]),
        ("dm:{user}:{user}", "al", &["dm:al:al"], &["dm:al:bo", "dm:al:alice"]),
        // What looks like a pattern in an id is taken as it is.
        ("inbox:{user}", "{user}", &["inbox:{user}"], &["inbox:u", "inbox:al"]),
    ];
    for (pattern, user, those, not) in TABLE {
        for name in *those {
            assert!(matches(pattern, Some(user), name), "{pattern} for {user}: {name}");
            assert!(!matches(pattern, None, name), "{pattern} for nobody: {name}");
        }
        for name in *not {
            assert!(!matches(pattern, Some(user), name), "{pattern} for {user}: {name}");
        }
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for pattern in [
        "",
        "**",
        "a*b",
        "*a",
        "room:*:x",
        "a b",
        "a>",
        ">",
        "@system",
        "@*",
        "room:\u{7}",
        "{user}*",
        "inbox:{user}*",
        "x{user}",
        "inbox:{user}x:*",
        "inbox/{user}/*",
        "{user}{user}",
        "{User}",
        "{name}",
        "a{",
        "}",
    ] {
        let refused = Patterns::parse(&[pattern]).expect_err(pattern).to_string();
        assert!(!refused.contains('\u{7}'), "what is said of it is printable");
    }
    assert!(Patterns::parse(&["x".repeat(256)]).is_err() && Patterns::parse(&["x".repeat(255)]).is_ok());
}
