//! The files that are looked at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// Rust files by their path from the top of the repository, with slashes, and their text.
#[derive(Debug, Default)]
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// Reads what is in the folders `src` of the watched folders and of those directly in them.
    ///
    /// # Errors
    /// A folder or a file cannot be read.
    pub fn read(top: &Path, watched: &[String]) -> anyhow::Result<Self> {
        let mut files = Self::default();
        for folder in watched {
            files.read_crate(top, folder)?;
            for (name, is_folder) in entries(&top.join(folder))? {
                if is_folder && name != "src" {
                    files.read_crate(top, &format!("{folder}/{name}"))?;
                }
            }
        }
        Ok(files)
    }

    fn read_crate(&mut self, top: &Path, folder: &str) -> anyhow::Result<()> {
        let source = format!("{folder}/src");
        if top.join(folder).join("Cargo.toml").is_file() && top.join(&source).is_dir() {
            self.read_folder(top, &source)?;
        }
        Ok(())
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

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
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

/// What is in a folder, by name, and whether it is a folder.
fn entries(folder: &Path) -> anyhow::Result<Vec<(String, bool)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_dir()));
    }
    Ok(entries)
}
