//! The program `fanfare-loadgen`; all of it is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanfare_loadgen::main()
}
