//! The decisions of tikv-operator: what is true, what is wanted, what to do next, what to say.
//!
//! Pure by construction: no I/O, no clock, no randomness, no async, no map order. See
//! `docs/ARCHITECTURE.md` for the data flow.

pub mod build;
pub mod check;
pub mod cluster;
pub mod facts;
pub mod plan;
pub mod report;
pub mod rules;
pub mod settings;
pub mod task;
pub mod world;

#[cfg(test)]
mod fixture;
