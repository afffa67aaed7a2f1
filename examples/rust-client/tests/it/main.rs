//! The guide shows what stands in the examples, and the examples do what the guide says.

mod guide;
mod tasks;
mod testing;
