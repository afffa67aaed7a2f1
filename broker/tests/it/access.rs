//! Who somebody is, and what that lets them do.

mod expiring;
mod rights;
mod signed;
