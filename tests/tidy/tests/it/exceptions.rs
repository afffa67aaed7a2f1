//! What is excepted, and for how long.

use fanfare_tidy::Plan;

use crate::tree::{Tree, lines};

fn long_file() -> Tree {
    Tree::default().file("lib.rs", "// word\n".repeat(520))
}

fn long_function() -> Tree {
    Tree::default().file("lib.rs", format!("struct A;\nimpl A {{\nfn long() {{\n{}}}\n}}\n", lines(80)))
}

fn arrow() -> Tree {
    let tree = Tree::default().file("lib.rs", "mod low;\nmod high;\n").file("low.rs", "use crate::high;");
    tree.file("high.rs", "").layer(&["low"]).layer(&["high"])
}

fn circle() -> Tree {
    let mods: String = (0..5).map(|n| format!("mod m{n};\n")).collect();
    let tree = Tree::default().file("lib.rs", mods).layer(&["m0", "m1", "m2", "m3", "m4"]);
    (0..5).fold(tree, |tree, n| tree.file(&format!("m{n}.rs"), format!("use crate::m{};", (n + 1) % 5)))
}

fn face() -> Tree {
    Tree::default().file("lib.rs", "mod a;\n").file("a.rs", "mod b;").file("a/b.rs", "").layer(&["a"])
}

#[test]
fn each_rule_has_exceptions() {
    long_file().exception("rule = 'file', what = 'a/src/lib.rs', most = 520, why = 'made up'").passes();
    long_function()
        .exception("rule = 'function', what = 'a/src/lib.rs A::long', most = 82, why = 'made up'")
        .passes();
    arrow().exception("rule = 'arrow', what = 'low -> high', why = 'made up'").passes();
    circle().exception("rule = 'circle', what = 'a/src/m3.rs', most = 5, why = 'made up'").passes();
    face().exception("rule = 'face', what = 'a/src/a.rs', why = 'made up'").passes();
}

#[test]
fn an_exception_is_for_one_thing() {
    let refusals = long_function()
        .exception("rule = 'function', what = 'a/src/lib.rs long', most = 82, why = 'x'")
        .refusals();
    assert_eq!(refusals.len(), 2, "the function, and an exception for nothing: {refusals:?}");
    let refusals = arrow().exception("rule = 'arrow', what = 'high -> low', why = 'made up'").refusals();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    let refusals = long_file().exception("rule = 'face', what = 'a/src/lib.rs', why = 'made up'").refusals();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
}

#[test]
fn what_is_excepted_must_not_get_worse() {
    long_file().exception("rule = 'file', what = 'a/src/lib.rs', most = 519, why = 'made up'").refused(&[
        "has 520 lines, 500 are the most",
        "its exception in",
        "allows 519 so far",
    ]);
    long_function()
        .exception("rule = 'function', what = 'a/src/lib.rs A::long', most = 81, why = 'made up'")
        .refused(&["has 82 lines, 70 are the most", "allows 81 so far"]);
    circle()
        .exception("rule = 'circle', what = 'a/src/m3.rs', most = 4, why = 'made up'")
        .refused(&["5 files", "allows 4 so far"]);
}

#[test]
fn what_is_excepted_for_nothing_is_taken_out() {
    for exception in [
        "rule = 'file', what = 'a/src/lib.rs', most = 520, why = 'made up'",
        "rule = 'function', what = 'a/src/lib.rs A::long', most = 82, why = 'made up'",
        "rule = 'arrow', what = 'low -> high', why = 'made up'",
        "rule = 'circle', what = 'a/src/m3.rs', most = 5, why = 'made up'",
        "rule = 'face', what = 'a/src/a.rs', why = 'made up'",
    ] {
        let tree = Tree::default().file("lib.rs", "").exception(exception);
        tree.refused(&["the exception", "is not needed any more: take it out"]);
    }
}

#[test]
fn an_exception_has_a_reason() {
    long_file()
        .exception("rule = 'file', what = 'a/src/lib.rs', most = 520, why = ' '")
        .refused(&["the exception \"a/src/lib.rs\" has no reason: say why"]);
}

#[test]
fn a_plan_is_read_with_care() {
    let plan = |exception: &str| {
        Plan::parse(&format!(
            "watched = []\n[[crate]]\nroot = 'a/src/lib.rs'\nlayers = []\nexceptions = [{exception}]\n"
        ))
    };
    assert!(plan("").is_ok());
    for exception in [
        "{ rule = 'file', what = 'a/src/lib.rs', most = 520 }",
        "{ rule = 'file', what = 'a/src/lib.rs', why = 'made up' }",
        "{ rule = 'arrow', what = 'low -> high', most = 1, why = 'made up' }",
        "{ rule = 'beauty', what = 'a/src/lib.rs', why = 'made up' }",
    ] {
        assert!(plan(exception).is_err(), "{exception}");
    }
}
