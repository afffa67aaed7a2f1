//! What the files of a crate import of each other: `use` lines, and paths that begin with `crate`, `self` or `super`.
//!
//! A face that names a module of its own wing as it stands (`use ring::Ring`) puts the wing together, as its `mod` line
//! does; that is no import.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItem, Item, ItemMod, ItemUse, Path, Stmt, UseTree, VisRestricted};

use super::modules::{Crate, ModulePath};
use super::syntax::{attributes_of, attributes_within, is_for_tests};

/// One import.
#[derive(Debug)]
pub(crate) struct Import {
    /// The file in which it stands.
    pub(crate) file: String,
    /// The line in which it stands.
    pub(crate) line: usize,
    /// The module in which it stands.
    pub(crate) from: ModulePath,
    /// The path, as it is written.
    pub(crate) written: String,
    /// The path, from the crate on.
    pub(crate) path: Vec<String>,
}

/// What the files of a crate import of it, but for tests.
pub(crate) fn imports(of: &Crate) -> Vec<Import> {
    let mut all = Vec::new();
    for source in of.sources.iter().filter(|source| !source.is_for_tests) {
        let mut reader = Reader { file: &source.file, module: source.module.clone(), imports: Vec::new() };
        reader.visit_file(&source.syntax);
        all.append(&mut reader.imports);
    }
    all
}

/// Reads one file.
struct Reader<'a> {
    file: &'a str,
    /// The module that is being read.
    module: ModulePath,
    imports: Vec<Import>,
}

impl Reader<'_> {
    fn import(&mut self, line: usize, written: &[String]) {
        if let Some(path) = absolute(&self.module, written) {
            self.imports.push(Import {
                file: self.file.to_owned(),
                line,
                from: self.module.clone(),
                written: written.join("::"),
                path,
            });
        }
    }

    /// Each name that a `use` brings in, by its path.
    fn tree(&mut self, tree: &UseTree, prefix: &[String]) {
        let with = |name: &syn::Ident| {
            let is_prefix = name == "self" && !prefix.is_empty();
            let name = (!is_prefix).then(|| name.to_string());
            prefix.iter().cloned().chain(name).collect::<Vec<_>>()
        };
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            UseTree::Name(leaf) => self.import(leaf.ident.span().start().line, &with(&leaf.ident)),
            UseTree::Rename(leaf) => self.import(leaf.ident.span().start().line, &with(&leaf.ident)),
            UseTree::Glob(leaf) => self.import(leaf.star_token.spans[0].start().line, prefix),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, prefix)),
        }
    }

    /// Paths among what stands in a macro, which is not parsed.
    fn tokens(&mut self, tokens: &TokenStream) {
        let trees: Vec<_> = tokens.clone().into_iter().collect();
        let mut rest = trees.as_slice();
        while let [tree, after @ ..] = rest {
            rest = after;
            match tree {
                TokenTree::Group(group) => self.tokens(&group.stream()),
                TokenTree::Ident(word) => {
                    let (path, behind) = path_in(word.to_string(), after);
                    if path.len() > 1 {
                        self.import(word.span().start().line, &path);
                    }
                    rest = behind;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes_of(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_for_tests(attributes_within(item)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        let is_for_tests = match stmt {
            Stmt::Local(local) => is_for_tests(&local.attrs),
            Stmt::Macro(call) => is_for_tests(&call.attrs),
            Stmt::Item(_) | Stmt::Expr(..) => false,
        };
        if !is_for_tests {
            visit::visit_stmt(self, stmt);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.tree(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let words: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let (true, Some(first)) = (path.leading_colon.is_none() && words.len() > 1, path.segments.first())
        {
            self.import(first.ident.span().start().line, &words);
        }
        visit::visit_path(self, path);
    }

    /// Who may see something is no import.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.tokens(tokens);
    }
}

/// The path that begins with a word, and what stands behind it.
fn path_in(first: String, mut rest: &[TokenTree]) -> (Vec<String>, &[TokenTree]) {
    let mut path = vec![first];
    while let [TokenTree::Punct(one), TokenTree::Punct(two), TokenTree::Ident(word), after @ ..] = rest
        && one.as_char() == ':'
        && two.as_char() == ':'
    {
        path.push(word.to_string());
        rest = after;
    }
    (path, rest)
}

/// A path from the crate on, unless it begins elsewhere.
fn absolute(module: &[String], written: &[String]) -> Option<Vec<String>> {
    let mut base = module;
    let mut rest = written;
    match rest.split_first()? {
        (first, after) if first == "crate" => {
            base = &[];
            rest = after;
        }
        (first, after) if first == "self" => rest = after,
        (first, _) if first == "super" => {}
        _ => return None,
    }
    while let Some((_, after)) = rest.split_first().filter(|(word, _)| *word == "super") {
        (_, base) = base.split_last()?;
        rest = after;
    }
    Some([base, rest].concat())
}
