//! Which servers does the test suite run where no registry has PD and TiKV? Two stand-ins that
//! speak their protocols: `pd-server` (module [`pd`]) and `tikv-server` (module [`tikv`]).
//!
//! They are fixtures. They are **not** TiKV's PD and **not** TiKV, and they are never shipped.

pub mod pd;
pub mod proto;
pub mod tikv;
