//! Who somebody is, and what that lets them do.

mod expiring;
mod jwks;
mod rights;
mod signed;
