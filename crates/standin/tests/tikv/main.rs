//! Is the stand-in TiKV honest? Real processes on loopback: stores, a stand-in PD over a real etcd,
//! and the published client. `TEST_ETCD` names the etcd program.
#![allow(missing_docs, unreachable_pub)]
// A test panics where it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cluster;
mod identity;
mod kills;
mod leaders;
mod membership;
mod mistakes;
mod recordings;

mod starts;
