//! How many processors there are.

use std::sync::OnceLock;

/// How many processors there were for this process at first: it may have been pinned to some of them since.
pub fn processors() -> u32 {
    static PROCESSORS: OnceLock<u32> = OnceLock::new();
    *PROCESSORS.get_or_init(cores)
}

/// How many processors there are for this thread.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}
