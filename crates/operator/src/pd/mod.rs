//! What does PD say about a cluster?
//!
//! One look asks one member after the other until one answers through a leader, then asks it
//! everything. Every call is bounded in time and in bytes. No answer, half an answer and an answer
//! that contradicts itself are all the same: unknown.

mod error;
mod facts;
mod look;
mod transport;
mod wire;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod recording_tests;

pub use error::{PdError, shorten};
pub use facts::Membership;
pub use look::{PdAnswer, PdClient};
pub use transport::{Limits, Transport};
