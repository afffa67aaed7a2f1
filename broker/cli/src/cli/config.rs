//! `fanfare config`.

use std::path::Path;

use fanfare::access::Access;
use fanfare::access::admin::AdminTokens;
use fanfare::{Config, config, machine};

use super::output;

/// Says whether a configuration can be used.
pub(crate) fn check(file: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(file, config::environment()?)?;
    config.check()?;
    Access::new(config.access.as_ref(), &config.namespace)?;
    AdminTokens::new(&config.admin)?;
    config.server.check_files()?;
    let memory = machine::memory_bytes(Path::new("/"));
    if let Some(warning) = config.memory.resolved(memory, config.limits.message_size).warning(memory) {
        output::notice(&format!("warning, for this machine: {warning}"));
    }
    output::notice(&match file {
        Some(file) => format!("{} is good, with the environment", file.display()),
        None => "no file was given; the environment is good".to_owned(),
    });
    Ok(())
}

/// Prints the default configuration.
pub(crate) fn default() -> anyhow::Result<()> {
    output::data(config::DEFAULT_FILE.as_bytes())
}
