//! The program from outside, as a process.

mod admin;
mod cli;
mod clock;
mod contracts;
mod logs;
mod memory;
mod operations;
mod process;
mod secrets;
mod secured;
mod shim;
mod signals;
mod supervision;
mod temp_file;
mod token;
