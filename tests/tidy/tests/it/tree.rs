//! Small made-up crates.

use fanfare_tidy::{Files, Plan, refusals};

/// A tree of one crate that begins in `a/src/lib.rs`.
#[derive(Default)]
pub(crate) struct Tree {
    files: Vec<(String, String)>,
    layers: Vec<Vec<String>>,
    exceptions: Vec<String>,
}

impl Tree {
    /// With a file, by its path within `a/src`.
    pub(crate) fn file(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.push((format!("a/src/{path}"), text.into()));
        self
    }

    /// With a file beside `src`, by its path within `a`.
    pub(crate) fn beside(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.push((format!("a/{path}"), text.into()));
        self
    }

    /// With a layer above those it has.
    pub(crate) fn layer(mut self, modules: &[&str]) -> Self {
        self.layers.push(modules.iter().map(|module| (*module).to_owned()).collect());
        self
    }

    /// With an exception, as it is written between the braces.
    pub(crate) fn exception(mut self, text: &str) -> Self {
        self.exceptions.push(format!("{{ {text} }}"));
        self
    }

    /// What is refused of it.
    pub(crate) fn refusals(self) -> Vec<String> {
        let text = format!(
            "watched = []\n[[crate]]\nroot = \"a/src/lib.rs\"\nlayers = {:?}\nexceptions = [{}]\n",
            self.layers,
            self.exceptions.join(", ")
        );
        let plan = Plan::parse(&text).expect("this is a plan");
        refusals(&plan, &Files::from_iter(self.files)).expect("this is Rust")
    }

    /// Nothing of it is refused.
    pub(crate) fn passes(self) {
        assert_eq!(self.refusals(), Vec::<String>::new());
    }

    /// One thing of it is refused, in a sentence that has these words in this order.
    pub(crate) fn refused(self, words: &[&str]) {
        let refusals = self.refusals();
        let [refusal] = refusals.as_slice() else { panic!("not one refusal: {refusals:#?}") };
        let mut rest = refusal.as_str();
        for word in words {
            let (_, after) = rest.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {refusal:?}"));
            rest = after;
        }
    }
}

/// So many lines within a function.
pub(crate) fn lines(count: usize) -> String {
    "    step();\n".repeat(count)
}
