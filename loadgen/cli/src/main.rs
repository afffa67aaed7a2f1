//! The program `fanfare-loadgen`; all of it is in the library, where tests reach it.

use std::process::ExitCode;

/// The broker's own, so that the floor, which is this program, is held against it with the same.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    fanfare_loadgen::main()
}
