//! The examples do what they say.

mod tasks;
mod testing;
