//! What does a task say, once it has been checked?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tikv_operator_api::v1alpha1::{
    ConcurrencyPolicy, HeaderFrom, RunComponent, ScaleRun, TaskEvent,
};

use super::{Condition, Schedule};
use crate::cluster::Warning;
use crate::world::Uid;

/// A task that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Its namespace, outside of which it does nothing.
    pub namespace: String,
    /// Its identity.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// When it was created.
    pub created: Timestamp,
    /// Which clusters it is about.
    pub target: TaskTarget,
    /// What starts a run.
    pub trigger: Trigger,
    /// A time that is due by the schedule starts nothing when it is longer ago.
    pub starting_deadline: Option<Duration>,
    /// A condition on the event.
    pub when: Option<Condition>,
    /// What it announces waits for the run.
    pub before: bool,
    /// What is done.
    pub work: Work,
    /// What becomes of an event while a run goes on.
    pub concurrency: ConcurrencyPolicy,
    /// Longest time of a run.
    pub timeout: Duration,
    /// Attempts after the first one.
    pub backoff_limit: i32,
    /// Nothing is started.
    pub suspend: bool,
    /// Runs that succeeded and are kept.
    pub keep_succeeded: usize,
    /// Runs that failed and are kept.
    pub keep_failed: usize,
    /// How long a run is kept after its end.
    pub ttl: Option<Duration>,
    /// As whom the work is done.
    pub account: Option<String>,
    /// What is allowed and unwise.
    pub warnings: Vec<Warning>,
}

impl Task {
    /// Is the cluster meant?
    pub fn is_about(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.target.is(name, labels)
    }

    /// Is it told of this event?
    pub fn hears(&self, event: TaskEvent) -> bool {
        matches!(&self.trigger, Trigger::Events(events) if events.contains(&event))
    }
}

/// Which clusters a task is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskTarget {
    /// The one of this name.
    Name(String),
    /// All that have these labels.
    Labels(BTreeMap<String, String>),
}

impl TaskTarget {
    /// Is the cluster meant?
    pub fn is(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Labels(wanted) => {
                wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
            }
        }
    }
}

/// What starts a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// One of these events.
    Events(BTreeSet<TaskEvent>),
    /// A time.
    Schedule(Box<Schedule>),
    /// That the task exists.
    Once,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A Job: its JobTemplateSpec.
    Job(Value),
    /// A Job that compacts all stores.
    Compact(Compact),
    /// A call.
    Http(Http),
    /// Pods are restarted.
    Restart(Pods),
    /// Leaders move away from the stores of these pods.
    Evict(Pods),
    /// They may come back.
    Restore(Pods),
    /// New stores take the place of those of these pods.
    Replace(Pods),
    /// Settings in the cluster's spec.
    ConfigSet {
        /// Whose.
        component: RunComponent,
        /// What is merged into it.
        config: Map<String, Value>,
    },
    /// The number of stores.
    Scale(ScaleRun),
}

impl Work {
    /// Is it done by a Job?
    pub fn is_job(&self) -> bool {
        matches!(self, Self::Job(_) | Self::Compact(_))
    }

    /// Which verb it is.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Job(_) => Verb::Job,
            Self::Compact(_) => Verb::Compact,
            Self::Http(_) => Verb::Http,
            Self::Restart(_) => Verb::Restart,
            Self::Evict(_) => Verb::EvictLeaders,
            Self::Restore(_) => Verb::RestoreLeaders,
            Self::Replace(_) => Verb::StoreReplace,
            Self::ConfigSet { .. } => Verb::ConfigSet,
            Self::Scale(_) => Verb::Scale,
        }
    }

    /// Does it bring about the event by itself, and how? A task that hears of such an event would
    /// start itself for ever.
    pub fn brings_about(&self, event: TaskEvent) -> Option<Effect> {
        use TaskEvent as E;
        use Verb::{
            Compact, ConfigSet, EvictLeaders, Restart, RestoreLeaders, Scale, StoreReplace,
        };
        const DISTURBING: &[Verb] =
            &[Restart, EvictLeaders, RestoreLeaders, ConfigSet, Scale, StoreReplace];
        // Settings may need restarts, so they do what restarts do.
        const RESTARTING: &[Verb] = &[Restart, ConfigSet];
        let (verbs, effect): (&[Verb], Effect) = match event {
            E::StoreDown | E::PdMemberLost | E::PdQuorumLost => (RESTARTING, Effect::Passing),
            E::StoreBack | E::PdLeaderChanged => (RESTARTING, Effect::Lasting),
            E::ConfigDrift => (&[ConfigSet], Effect::Passing),
            // A scale-out is no cause of it: a new store cures it, in time.
            E::DiskAlmostFull => (&[Compact, Scale, StoreReplace], Effect::Passing),
            E::ScaleStarted | E::ScaleFinished | E::ScaleRefused => (&[Scale], Effect::Lasting),
            E::ClusterReady => (DISTURBING, Effect::Lasting),
            E::ClusterDegraded => (DISTURBING, Effect::Passing),
            // No verb edits a version, and StoreReplaced tells of lost stores. A restart that brings the
            // new image is part of an upgrade that somebody else asked for.
            E::StoreReplaced
            | E::UpgradeStarting
            | E::StoreUpgraded
            | E::UpgradeFinished
            | E::UpgradeStuck
            | E::CertificateExpiring
            | E::NodeCordoned => (&[], Effect::Lasting),
        };
        verbs.contains(&self.verb()).then_some(effect)
    }
}

/// The verbs, apart from what they are done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `job`
    Job,
    /// `compact`
    Compact,
    /// `http`
    Http,
    /// `restart`
    Restart,
    /// `evictLeaders`
    EvictLeaders,
    /// `restoreLeaders`
    RestoreLeaders,
    /// `storeReplace`
    StoreReplace,
    /// `configSet`
    ConfigSet,
    /// `scale`
    Scale,
}

impl Verb {
    /// Its field in `spec.run`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Compact => "compact",
            Self::Http => "http",
            Self::Restart => "restart",
            Self::EvictLeaders => "evictLeaders",
            Self::RestoreLeaders => "restoreLeaders",
            Self::StoreReplace => "storeReplace",
            Self::ConfigSet => "configSet",
            Self::Scale => "scale",
        }
    }
}

/// How does work bring about an event?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// In passing: what is still so when the work is over has another cause, and is told then.
    Passing,
    /// As what it is for, or as a moment that leaves nothing to look at later: it is never told.
    Lasting,
}

/// Which pods are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pods {
    /// The one that the event is about.
    OfEvent,
    /// These.
    Named(Vec<String>),
    /// All of a component.
    All(RunComponent),
}

/// A compaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compact {
    /// Its image, if not TiKV's of the cluster.
    pub image: Option<String>,
    /// Threads per store.
    pub threads: i32,
    /// The lowest level too.
    pub bottommost: bool,
}

/// An HTTP call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where to.
    pub url: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// Headers from Secrets.
    pub headers_from: Vec<HeaderFrom>,
    /// The Secret with the certificates.
    pub tls_secret: Option<String>,
    /// Time for one attempt.
    pub attempt: Duration,
}
