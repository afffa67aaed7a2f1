//! Keeps the habits of the code that a compiler does not know: CONTRIBUTING.md has them for people, `layers.toml` beside
//! this crate has what is different in each crate.
//!
//! [`Files`] are read, [`Plan`] says what they should be like, [`refusals`] says what they are not. Each refusal is a
//! sentence that says what to do. Nothing is compiled for it: files are parsed and their imports are followed by name,
//! so what a macro makes of its own accord is not seen, nor is a path in a string.

mod bounds;
mod breach;
mod code;
mod plan;
mod rules;

pub use code::files::Files;
pub use plan::exception::Exception;
pub use plan::{CratePlan, PLAN, Plan};
pub use rules::refusals;
