//! What would the operator do, and what would come of it?
//!
//! An executable model of Kubernetes, PD and TiKV in which the real `check`, `plan` and `report`
//! run, step by step, in simulated time. One seed fixes everything. [`auditor`] shares no code
//! with the rules and looks at what happened, not at what was intended.

pub mod auditor;
pub mod beliefs;
pub mod clock;
pub mod dice;
pub mod failure;
pub mod harness;
pub mod history;
pub mod kube;
pub mod mutant;
pub mod names;
pub mod node;
pub mod operator;
pub mod pd;
pub mod queue;
pub mod rules;
pub mod script;
pub mod search;
pub mod tasks;
pub mod tikv;
pub mod universe;

/// A third of a history's time goes into small objects of JSON that are made and dropped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
