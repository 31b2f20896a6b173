//! Does the stand-in for PD behave as the real one where an operator could lose data by it?

mod conformance;
mod harness;
mod life;
mod membership;
mod obedient;
mod recordings;
mod scheduling;
mod traps;
mod versions;
