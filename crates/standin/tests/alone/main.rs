//! Is what takes time over in time? A program of its own, which runs when no other test does.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers too; those of the other tests are more than are used"
)]

#[path = "../servers/tikv/cluster.rs"]
mod cluster;
mod gate;
mod handover;
#[path = "../servers/ports.rs"]
mod ports;
mod reconnect;
