//! Does the stand-in for PD behave as the real one where an operator could lose data by it?

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unnecessary_wraps,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers too"
)]

mod harness;
mod life;
mod membership;
mod recordings;
mod scheduling;
mod traps;
