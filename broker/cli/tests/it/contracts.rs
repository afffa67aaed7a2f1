//! The contracts for which the broker has to be a process: it is killed, its memory is looked at.

mod bounds_in_flight;
mod restart;
mod retained;
