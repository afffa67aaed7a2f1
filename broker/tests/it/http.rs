//! HTTP/1.1 as it is spoken by all kinds of clients and proxies.

mod addresses;
mod admin;
mod answers;
mod bodies;
mod credentials;
mod heads;
mod openings;
mod pages;
mod turns;
