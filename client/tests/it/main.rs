//! The client against brokers that follow a script, so that they can do what a real one never should, and
//! against the real one.

mod cable;
mod closing;
mod codecs;
mod connecting;
mod cutting;
mod ending;
mod peer;
mod promises;
mod publishing;
mod real;
mod reconnecting;
mod sharing;
mod subscribing;
mod tls;
mod tokens;
