//! Which servers does the test suite run where no registry has PD and TiKV? Two stand-ins that
//! speak their protocols: `pd-server` (module [`pd`]) and `tikv-server` (module [`tikv`]), with the
//! little of `tikv-ctl` that a compaction needs (module [`ctl`]). What they need in common is beside
//! them: start and end, version, port, log and the spelling of quantities.
//!
//! They are fixtures. They are **not** TiKV's PD and **not** TiKV, and they are never shipped.

pub mod ctl;
pub mod logs;
pub mod pd;
pub mod port;
pub mod proto;
pub mod start;
pub mod tikv;
pub mod units;
pub mod version;
