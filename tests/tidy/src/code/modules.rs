//! The modules of a crate, found by its `mod` lines from the file in which it begins.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use syn::{Item, ItemMod};

use super::files::Files;
use super::syntax::{Home, homes, is_for_tests, parse};

/// A module by the names on the way to it; the crate itself is empty.
pub(crate) type ModulePath = Vec<String>;

/// A file of a crate.
pub(crate) struct Source {
    /// The path of the file, from the top of the repository.
    pub(crate) file: String,
    /// The module that it is.
    pub(crate) module: ModulePath,
    /// Whether it is built for tests alone.
    pub(crate) is_for_tests: bool,
    /// Lines of text.
    pub(crate) lines: usize,
    /// What it says.
    pub(crate) syntax: syn::File,
}

/// A crate.
#[derive(Default)]
pub(crate) struct Crate {
    /// Its files, those for tests among them.
    pub(crate) sources: Vec<Source>,
    /// Its modules but for those of tests, and their files: more than one where it depends on the build.
    modules: BTreeMap<ModulePath, BTreeSet<String>>,
}

impl Crate {
    /// Follows the `mod` lines from the file in which the crate begins.
    ///
    /// # Errors
    /// A file is missing or is no Rust.
    pub(crate) fn load(root: &str, files: &Files) -> anyhow::Result<Self> {
        let mut loader = Loader { files, found: Self::default() };
        loader.file(root, Vec::new(), true, false)?;
        Ok(loader.found)
    }

    /// The names of the modules that stand directly in the crate.
    pub(crate) fn top_modules(&self) -> impl Iterator<Item = &str> {
        let tops = self.modules.keys().filter(|module| module.len() == 1);
        tops.filter_map(|module| module.first()).map(String::as_str)
    }

    /// The module in which something stands: the longest beginning of its path that is one, and its files.
    pub(crate) fn module_of<'a>(&self, path: &'a [String]) -> Option<(&'a [String], &BTreeSet<String>)> {
        let mut prefixes = (0..=path.len()).rev().map(|end| &path[..end]);
        prefixes.find_map(|prefix| Some((prefix, self.modules.get(prefix)?)))
    }
}

/// Where `mod` lines stand.
#[derive(Debug)]
struct Place<'a> {
    file: &'a str,
    module: ModulePath,
    is_for_tests: bool,
    /// Where the files of its modules are by their names.
    by_name: String,
    /// Where an attribute `path` begins.
    by_path: String,
}

struct Loader<'a> {
    files: &'a Files,
    found: Crate,
}

impl Loader<'_> {
    /// Takes in a file. One that `owns_folder` has its modules beside it, any other in a folder of its name.
    fn file(
        &mut self,
        file: &str,
        module: ModulePath,
        owns_folder: bool,
        is_for_tests: bool,
    ) -> anyhow::Result<()> {
        let text = self.files.text(file).with_context(|| format!("there is no {file}"))?;
        let syntax = parse(file, text)?;
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let by_name = if owns_folder { folder } else { file.trim_end_matches(".rs") };
        let place = Place {
            file,
            module: module.clone(),
            is_for_tests,
            by_name: by_name.to_owned(),
            by_path: folder.to_owned(),
        };
        self.note(&place);
        self.items(&syntax.items, &place)?;
        let lines = text.lines().count();
        self.found.sources.push(Source { file: file.to_owned(), module, is_for_tests, lines, syntax });
        Ok(())
    }

    fn note(&mut self, place: &Place<'_>) {
        if !place.is_for_tests {
            self.found.modules.entry(place.module.clone()).or_default().insert(place.file.to_owned());
        }
    }

    fn items(&mut self, items: &[Item], place: &Place<'_>) -> anyhow::Result<()> {
        for item in items {
            if let Item::Mod(item) = item {
                self.module(item, place)?;
            }
        }
        Ok(())
    }

    fn module(&mut self, item: &ItemMod, place: &Place<'_>) -> anyhow::Result<()> {
        let name = item.ident.to_string();
        let module: ModulePath = place.module.iter().chain([&name]).cloned().collect();
        let is_for_tests = place.is_for_tests || is_for_tests(&item.attrs);
        let Some((_, items)) = &item.content else { return self.in_file(item, place, &module, is_for_tests) };
        let folder = format!("{}/{name}", place.by_name);
        let within =
            Place { file: place.file, module, is_for_tests, by_name: folder.clone(), by_path: folder };
        self.note(&within);
        self.items(items, &within)
    }

    /// Takes in the files of a module that has its own.
    fn in_file(
        &mut self,
        item: &ItemMod,
        place: &Place<'_>,
        module: &ModulePath,
        is_for_tests: bool,
    ) -> anyhow::Result<()> {
        let mut is_there = false;
        for home in homes(&item.attrs) {
            for (file, owns_folder) in places(&home, place, &item.ident.to_string()) {
                if self.files.text(&file).is_some() {
                    self.file(&file, module.clone(), owns_folder, is_for_tests)?;
                    is_there = true;
                }
            }
        }
        if !is_there {
            bail!(
                "{}:{}: there is no file for `mod {}`",
                place.file,
                item.ident.span().start().line,
                item.ident
            );
        }
        Ok(())
    }
}

/// Files in which a module may be, and whether each owns its folder.
fn places(home: &Home, place: &Place<'_>, name: &str) -> Vec<(String, bool)> {
    match home {
        Home::ByName => vec![
            (format!("{}/{name}.rs", place.by_name), false),
            (format!("{}/{name}/mod.rs", place.by_name), true),
        ],
        Home::ByPath(path) => vec![(join(&place.by_path, path), true)],
    }
}

/// A path from a folder, without the steps back.
fn join(folder: &str, path: &str) -> String {
    let mut steps: Vec<&str> = folder.split('/').collect();
    for step in path.split('/') {
        match step {
            ".." => drop(steps.pop()),
            "." => {}
            step => steps.push(step),
        }
    }
    steps.join("/")
}
