//! The plan: what each crate is made of, and what is not yet as it should be. It must not know how that is found out.

pub(crate) mod exception;

use anyhow::Context;
use serde::Deserialize;

use exception::Exception;

/// Where the plan is, from the top of the repository.
pub const PLAN: &str = "tests/tidy/layers.toml";

/// What the files should be like, as data.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Folders whose crates are looked at: the folder itself and those directly in it.
    pub watched: Vec<String>,
    /// What is not yet as it should be in the crates' tests and benches.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
    /// The crates, each by the file in which it begins.
    #[serde(rename = "crate")]
    pub crates: Vec<CratePlan>,
}

/// What one crate should be like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CratePlan {
    /// The file in which it begins, from the top of the repository: `broker/src/lib.rs`.
    pub root: String,
    /// Its modules, without what is in them, from the ground up. Those of one layer may import each other.
    pub layers: Vec<Vec<String>>,
    /// What is not yet as it should be.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
}

impl Plan {
    /// Reads a plan as it is written.
    ///
    /// # Errors
    /// Says where it is not TOML, or a key is unknown or missing.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        toml::from_str(text).context(PLAN)
    }
}

impl CratePlan {
    /// The layer of a module, counted from the ground.
    pub(crate) fn layer_of(&self, module: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.iter().any(|name| name == module))
    }

    /// The folder of its files, with a slash at its end.
    pub(crate) fn folder(&self) -> &str {
        self.root.rfind('/').map_or("", |slash| &self.root[..=slash])
    }
}
