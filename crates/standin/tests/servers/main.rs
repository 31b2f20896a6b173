//! Are the stand-ins honest? One program, so that tests that wait do so side by side; `TEST_ETCD`
//! names the etcd program.
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

mod pd;
mod ports;
mod tikv;
