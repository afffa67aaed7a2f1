//! The habits of the code, and whether those are found who break them.

mod arrows;
mod circles;
mod exceptions;
mod faces;
mod house;
mod lengths;
mod modules;
mod tree;
