//! What is to be done about a task now?
//!
//! The same division as for clusters: a spec is checked once ([`check_task`]), everything that matters is
//! joined into a [`TaskWorld`], and a pure function decides and says what is so ([`turn`]). What differs
//! is memory: an event is the difference between what was and what is, so what was seen is persisted
//! in the task's status. The rule that makes a run certain and unique: the
//! new marks and the run that follows from them, with its key, are one write of the status
//! ([`TaskPlan::status`]), which comes before every step. A crash before it changes nothing; a crash
//! after it leaves a run that is done again under the same key.

mod admit;
mod advance;
mod body;
mod call;
mod check;
mod condition;
mod edge;
mod ends;
mod facts;
mod history;
mod job;
mod marks;
mod own;
mod plan;
mod report;
mod schedule;
mod spec;
mod step;
mod turn;
mod world;

pub use body::cloud_event;
pub use call::{Annotated, Annotation, Call, HttpCall, Target};
pub use check::check_task;
pub use condition::Condition;
pub use edge::Edge;
pub use facts::{cluster_view, job_facts, task_facts};
pub use job::{EVENT_ANNOTATION, TASK_LABEL, TASK_RUN_LABEL, job_name};
pub(crate) use marks::TOLD_WAITS;
pub use plan::TaskPlan;
pub(crate) use report::TOO_MANY_CLUSTERS;
pub use report::{Answer, Answered};
pub use schedule::Schedule;
pub use spec::{Compact, Effect, Http, Pods, Task, TaskTarget, Trigger, Verb, Work};
pub use step::TaskStep;
pub use tikv_operator_api::v1alpha1::{RunKey, TaskEvent};
pub use turn::turn;
pub use world::{ClusterView, ImageSettings, JobFacts, JobState, TaskFacts, TaskWorld};

#[cfg(test)]
use plan::plan;
#[cfg(test)]
use report::{heard, rejected, report};

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
