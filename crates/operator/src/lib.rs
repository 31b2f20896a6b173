//! How does tikv-operator look at the world and act on it?
//!
//! One pass per cluster: `observe` (I/O) -> `check` -> `plan` (pure, in core) -> `act` (I/O) ->
//! `report` (pure, in core) -> one status write. Everything that decides lives in
//! `tikv-operator-core`; this crate only looks and does.

pub mod act;
pub mod budget;
pub mod controller;
#[cfg(test)]
mod fake;
pub mod flags;
pub mod grants;
pub mod kubernetes;
pub mod lease;
pub mod logs;
pub mod metrics;
pub mod observe;
pub mod pd;
pub mod run;
pub mod serve;
pub mod store;
pub mod task;
