//! A wing is a folder with a face: the file beside it of the same name, or its `mod.rs`. The face's first line says what
//! the wing is.

use syn::AttrStyle;

use crate::breach::Breach;
use crate::code::files::Files;
use crate::code::modules::Source;

pub(super) fn breaches(sources: &[&Source], files: &Files) -> Vec<Breach> {
    let faces = sources.iter().filter(|source| is_face(&source.file, files));
    let mute = faces.filter(|source| !begins_with_a_doc_line(&source.syntax));
    mute.map(|source| Breach::Face { file: source.file.clone() }).collect()
}

fn is_face(file: &str, files: &Files) -> bool {
    let folder = format!("{}/", file.trim_end_matches(".rs"));
    file.ends_with("/mod.rs") || files.sources().any(|other| other.starts_with(&folder))
}

fn begins_with_a_doc_line(file: &syn::File) -> bool {
    let first = file.attrs.first();
    first.is_some_and(|first| matches!(first.style, AttrStyle::Inner(_)) && first.path().is_ident("doc"))
}
