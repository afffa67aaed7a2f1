//! Files and functions are short, those of tests too.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Block, File, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemTrait, Signature, TraitItemFn, Type};

use crate::bounds::{FILE_LINES_MAX, FUNCTION_LINES_MAX};
use crate::breach::Breach;

pub(super) fn breaches(file: &str, lines: usize, syntax: &File) -> Vec<Breach> {
    let mut functions = Functions::default();
    functions.visit_file(syntax);
    let long = functions.found.into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    let long = long.map(|Function { line, name, lines }| Breach::Function {
        file: file.to_owned(),
        line,
        name,
        lines,
    });
    let is_long = lines > FILE_LINES_MAX;
    is_long.then(|| Breach::File { file: file.to_owned(), lines }).into_iter().chain(long).collect()
}

struct Function {
    line: usize,
    name: String,
    lines: usize,
}

/// The functions of a file.
#[derive(Default)]
struct Functions {
    /// The modules, types and functions in which they stand.
    within: Vec<String>,
    found: Vec<Function>,
}

impl Functions {
    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.within.push(name);
        visit(self);
        self.within.pop();
    }

    fn add(&mut self, line: usize, name: &str, end: usize) {
        let name = self.within.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("::");
        self.found.push(Function { line, name, lines: end - line + 1 });
    }

    fn function(&mut self, signature: &Signature, block: &Block, visit: impl FnOnce(&mut Self)) {
        let name = signature.ident.to_string();
        let end = block.brace_token.span.close().end().line;
        self.add(signature.fn_token.span.start().line, &name, end);
        self.within(name, visit);
    }

    /// Functions among what stands in a macro, which is not parsed.
    fn tokens(&mut self, tokens: &TokenStream) {
        let trees: Vec<_> = tokens.clone().into_iter().collect();
        let mut begun = None;
        for (at, tree) in trees.iter().enumerate() {
            match (tree, trees.get(at + 1)) {
                (TokenTree::Ident(word), Some(TokenTree::Ident(name))) if word == "fn" => {
                    begun = Some((word.span().start().line, name.to_string()));
                }
                (TokenTree::Group(group), _) => {
                    if group.delimiter() == Delimiter::Brace
                        && let Some((line, name)) = begun.take()
                    {
                        self.add(line, &name, group.span_close().end().line);
                    }
                    self.tokens(&group.stream());
                }
                (TokenTree::Punct(mark), _) if mark.as_char() == ';' => begun = None,
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.sig, &item.block, |this| visit::visit_item_fn(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.sig, &item.block, |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block, |this| visit::visit_trait_item_fn(this, item));
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let name = match &*item.self_ty {
            Type::Path(of) => of.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        self.within(name.unwrap_or_else(|| "impl".to_owned()), |this| visit::visit_item_impl(this, item));
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.within(item.ident.to_string(), |this| visit::visit_item_trait(this, item));
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.within(item.ident.to_string(), |this| visit::visit_item_mod(this, item));
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.tokens(tokens);
    }
}
