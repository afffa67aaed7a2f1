//! Long files and functions.

use crate::tree::{Tree, lines};

fn one_file(text: impl Into<String>) -> Tree {
    Tree::default().file("lib.rs", text)
}

#[test]
fn a_file_has_500_lines_at_most() {
    one_file("// word\n".repeat(500)).passes();
    one_file("// word\n".repeat(501))
        .refused(&["a/src/lib.rs has 501 lines, 500 are the most: split it", "layers.toml"]);
}

#[test]
fn a_file_of_tests_is_as_short() {
    let tree = one_file("#[cfg(test)]\nmod tests;\n");
    tree.file("tests.rs", "// word\n".repeat(501)).refused(&["a/src/tests.rs has 501 lines"]);
}

#[test]
fn tests_and_benches_beside_a_crate_are_as_short() {
    for beside in ["tests/it/word.rs", "benches/word.rs"] {
        let long = |text: String| one_file("").beside(beside, text);
        long("// word\n".repeat(500)).passes();
        long("// word\n".repeat(501)).refused(&["a/", beside, " has 501 lines, 500 are the most"]);
        long(format!("#[test]\nfn long() {{\n{}}}\n", lines(69)))
            .refused(&[beside, ":2: the function long has 71"]);
    }
}

#[test]
fn a_function_has_70_lines_at_most() {
    one_file(format!("// one\nfn long() {{\n{}}}\n", lines(68))).passes();
    one_file(format!("// one\nfn long() {{\n{}}}\n", lines(69)))
        .refused(&["a/src/lib.rs:2: the function long has 71 lines, 70 are the most", "layers.toml"]);
}

#[test]
fn comments_and_attributes_before_a_function_do_not_count() {
    let before = "/// A line.\n".repeat(20) + "#[inline]\n";
    one_file(format!("{before}fn long() {{\n{}}}\n", lines(68))).passes();
}

#[test]
fn a_function_is_named_by_what_it_stands_in() {
    for (before, after, name) in [
        ("struct A; impl A {", "}", "A::long"),
        ("struct A; impl<T> From<T> for A<T> {", "}", "A::long"),
        ("trait A {", "}", "A::long"),
        ("mod tests {", "}", "tests::long"),
        ("#[cfg(test)] mod tests {", "}", "tests::long"),
        ("fn short() { {", "} }", "short::long"),
        ("proptest! { #[test]", "}", "long"),
    ] {
        let text = format!("{before} fn long(a: fn(u8) -> u8) -> u8 {{\n{}}} {after}", lines(69));
        let refusals = one_file(text).refusals();
        assert!(
            refusals.iter().any(|refusal| refusal.contains(&format!("the function {name} has 71"))),
            "{refusals:?}"
        );
    }
}
