//! What is asked of parsed Rust in more than one place.

use anyhow::anyhow;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, ImplItem, Item, Lit, Meta, MetaList, Token};

/// A file as Rust.
///
/// # Errors
/// Where it is not Rust, with the line.
pub(crate) fn parse(file: &str, text: &str) -> anyhow::Result<syn::File> {
    syn::parse_file(text).map_err(|error| anyhow!("{file}:{}: {error}", error.span().start().line))
}

/// Whether what has these attributes is a test, or is built for tests alone.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_test = attribute.path().segments.last().is_some_and(|word| word.ident == "test");
        let is_cfg = attribute.path().is_ident("cfg");
        is_test || is_cfg && attribute.parse_args::<Meta>().is_ok_and(|predicate| needs_test(&predicate))
    })
}

fn needs_test(predicate: &Meta) -> bool {
    match predicate {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => nested(list).iter().any(needs_test),
        Meta::List(list) if list.path.is_ident("any") => nested(list).iter().all(needs_test),
        _ => false,
    }
}

/// Where a module's file may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Where its name says.
    ByName,
    /// Where an attribute `path` says.
    ByPath(String),
}

/// Where the file of a module with these attributes may be, in one build or another.
pub(crate) fn homes(attributes: &[Attribute]) -> Vec<Home> {
    if let Some(path) = attributes.iter().find_map(|attribute| path(&attribute.meta)) {
        return vec![Home::ByPath(path)];
    }
    let conditional = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg_attr"));
    let lists = conditional.filter_map(|attribute| attribute.meta.require_list().ok());
    let paths = lists.flat_map(nested).filter_map(|meta| path(&meta)).map(Home::ByPath);
    paths.chain([Home::ByName]).collect()
}

fn path(meta: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = meta else { return None };
    match &pair.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if pair.path.is_ident("path") => Some(text.value()),
        _ => None,
    }
}

fn nested(list: &MetaList) -> Vec<Meta> {
    let nested = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    nested.map(|metas| metas.into_iter().collect()).unwrap_or_default()
}

/// The attributes of an item.
pub(crate) fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of what stands in an `impl`.
pub(crate) fn attributes_within(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        _ => &[],
    }
}
