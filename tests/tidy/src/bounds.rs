//! How much is too much.

/// Most lines of a file.
pub(crate) const FILE_LINES_MAX: usize = 500;
/// Most lines of a function, from its `fn` to its last brace.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
/// Most files that import each other in a circle.
pub(crate) const CIRCLE_FILES_MAX: usize = 4;
