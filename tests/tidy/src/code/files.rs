//! The files that are looked at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// The folders of a crate that are read.
const PARTS: [&str; 3] = ["src", "tests", "benches"];

/// Rust files by their path from the top of the repository, with slashes, and their text.
#[derive(Debug, Default)]
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// Reads what is in the folders `src`, `tests` and `benches` of the crates among the watched folders and among those
    /// directly in them.
    ///
    /// # Errors
    /// A folder or a file cannot be read.
    pub fn read(top: &Path, watched: &[String]) -> anyhow::Result<Self> {
        let mut files = Self::default();
        for folder in watched {
            files.read_crate(top, folder)?;
            for (name, is_folder) in entries(&top.join(folder))? {
                if is_folder && !PARTS.contains(&name.as_str()) {
                    files.read_crate(top, &format!("{folder}/{name}"))?;
                }
            }
        }
        Ok(files)
    }

    fn read_crate(&mut self, top: &Path, folder: &str) -> anyhow::Result<()> {
        if !top.join(folder).join("Cargo.toml").is_file() {
            return Ok(());
        }
        let parts = PARTS.iter().map(|part| format!("{folder}/{part}"));
        parts.filter(|part| top.join(part).is_dir()).try_for_each(|part| self.read_folder(top, &part))
    }

    fn read_folder(&mut self, top: &Path, folder: &str) -> anyhow::Result<()> {
        for (name, is_folder) in entries(&top.join(folder))? {
            let path = format!("{folder}/{name}");
            if is_folder {
                self.read_folder(top, &path)?;
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(top.join(&path)).with_context(|| path.clone())?;
                self.0.insert(path, text);
            }
        }
        Ok(())
    }

    /// The paths of what crates are made of.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|path| is_source(path))
    }

    /// What stands beside that, tests and benches, with its text.
    pub(crate) fn beside(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        all.filter(|(path, _)| !is_source(path))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }
}

impl<P: Into<String>, T: Into<String>> FromIterator<(P, T)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(files: I) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.into(), text.into())).collect())
    }
}

fn is_source(path: &str) -> bool {
    path.contains("/src/")
}

/// What is in a folder, by name, and whether it is a folder.
fn entries(folder: &Path) -> anyhow::Result<Vec<(String, bool)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_dir()));
    }
    Ok(entries)
}
