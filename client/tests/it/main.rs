//! The client against brokers that follow a script, so that they can do what a real one never should.

mod closing;
mod codecs;
mod peer;
mod publishing;
mod reconnecting;
mod sharing;
mod subscribing;
mod tls;
mod tokens;
