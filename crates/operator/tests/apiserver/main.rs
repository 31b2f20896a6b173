//! The operator against a real kube-apiserver and etcd.
//!
//! Paths of the programs come from `TEST_ETCD`, `TEST_KUBE_APISERVER` and, for the commands of a page,
//! `TEST_KUBECTL` (`cargo xtask tools etcd kube-apiserver kubectl` prints them). One server for this
//! binary, a namespace per test. There is no kubelet and no PD here: `kubelet` patches what a kubelet
//! would, `pd` answers what PD would. Only `releases` runs servers, the stand-ins of `TEST_STANDINS`.

// The whole crate is tests: what is not as expected may panic, with the line.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

use std::time::Duration;

/// How long a test waits for what must happen: a slow machine is not an error, a hang is.
const PATIENCE: Duration = Duration::from_mins(4);

mod adoption;
mod bench;
mod bootstrap;
mod conformance;
mod contrary;
mod counting;
mod definition;
mod earlier;
mod edits;
mod ending;
mod kubelet;
mod lease;
mod nodes;
mod operator;
mod outage;
mod pd;
mod processes;
mod quiet;
mod releases;
mod roles;
mod router;
mod scopes;
mod server;
mod stage;
mod steps;
mod strangers;
mod task_gate;
mod task_input;
mod task_jobs;
mod task_policy;
mod tasks;
