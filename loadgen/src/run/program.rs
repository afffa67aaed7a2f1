//! Where the program `fanfare` is, of which this is the load generator.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The program beside this one, where both were built or installed, or the one on `PATH`.
///
/// # Errors
/// Says where it was looked for, and what to do.
pub(super) fn find() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("it is not known where this program is")?;
    find_beside(&own, std::env::var_os("PATH").as_deref())
}

fn find_beside(own: &Path, path: Option<&OsStr>) -> anyhow::Result<PathBuf> {
    let name = format!("fanfare{}", std::env::consts::EXE_SUFFIX);
    let beside = own.parent().unwrap_or(own);
    // The programs of tests stand in a folder of their own below.
    let above = beside.file_name().filter(|name| *name == "deps").and_then(|_| beside.parent());
    let on_path = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    let folders = [Some(beside.to_owned()), above.map(Path::to_owned)].into_iter().flatten().chain(on_path);
    match folders.map(|folder| folder.join(&name)).find(|program| program.is_file()) {
        Some(program) => Ok(program),
        None => bail!(
            "there is no program {name} in {} or on PATH: build it with \
             `cargo build --release --workspace`, or give the --url of a broker that runs",
            beside.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where one test puts programs; it is gone with this value.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("fanfare-program-{}-{name}", std::process::id()));
            std::fs::create_dir_all(folder.join("deps")).expect("it is new");
            Self(folder)
        }

        fn with_program(&self) -> PathBuf {
            let program = self.0.join(format!("fanfare{}", std::env::consts::EXE_SUFFIX));
            std::fs::write(&program, "").expect("it can be written");
            program
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("it can be removed");
        }
    }

    #[test]
    fn the_program_beside_this_one_comes_before_those_on_the_path() {
        let (here, elsewhere) = (Folder::new("here"), Folder::new("elsewhere"));
        let on_path = elsewhere.with_program();
        let path = Some(elsewhere.0.as_os_str());
        let own = here.0.join("fanfare-loadgen");
        assert_eq!(find_beside(&own, path).expect("on the path"), on_path);
        let beside = here.with_program();
        assert_eq!(find_beside(&own, path).expect("beside it"), beside);
        assert_eq!(find_beside(&here.0.join("deps/it-4711"), path).expect("above the tests"), beside);
    }

    #[test]
    fn where_there_is_none_it_is_said_where_it_should_be_and_how_it_gets_there() {
        let here = Folder::new("nowhere");
        let error =
            find_beside(&here.0.join("fanfare-loadgen"), None).expect_err("there is none").to_string();
        let folder = here.0.display().to_string();
        for part in [folder.as_str(), "PATH", "cargo build --release --workspace", "--url"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
