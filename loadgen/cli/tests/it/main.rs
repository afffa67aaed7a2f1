//! The load generator as a whole, against brokers that behave and brokers that do not.

mod broker;
mod compare;
mod docs;
mod keeper;
mod liar;
mod notices;
mod peers;
mod program;
mod scenarios;
mod transcripts;
