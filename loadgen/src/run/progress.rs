//! A progress bar on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far a run is.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar for `total` connections; invisible when `quiet`, or off a terminal.
    pub(crate) fn connecting(total: u64, quiet: bool) -> Self {
        Self::new("connecting {bar:40} {pos}/{len}", total, quiet)
    }

    /// A bar for a run of that length; invisible when `quiet`, or off a terminal.
    pub(crate) fn running(length: Duration, quiet: bool) -> Self {
        Self::new("{bar:40} {msg}", length.as_millis() as u64, quiet)
    }

    fn new(template: &str, total: u64, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        bar.set_style(ProgressStyle::with_template(template).expect("a template of this file"));
        Self(bar)
    }

    /// Shows how many connections stand.
    pub(crate) fn connected(&self, count: u64) {
        self.0.set_position(count);
    }

    /// The run has gone on for that long.
    pub(crate) fn ran(&self, time: Duration, message: String) {
        self.0.set_position(time.as_millis() as u64);
        self.0.set_message(message);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
