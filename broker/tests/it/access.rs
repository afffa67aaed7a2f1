//! Who somebody is, and what that lets them do.

mod rights;
mod signed;
