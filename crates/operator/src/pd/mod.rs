//! What does PD say about a cluster, and how is it told to change something?
//!
//! One look asks one member after the other until one answers through a leader, then asks it
//! everything. Every call is bounded in time and in bytes. No answer, half an answer and an answer
//! that contradicts itself are all the same: unknown.

mod client;
mod critical;
mod details;
mod error;
mod facts;
mod look;
mod transport;
mod wire;
mod write;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod look_tests;
#[cfg(test)]
mod recording_tests;
#[cfg(test)]
mod versions_tests;

pub use client::PdClient;
pub use error::{PdError, shorten};
pub use facts::Membership;
pub use look::{Again, Depth, PdAnswer};
pub use transport::{Call, Limits, Transport};
pub use write::Change;
