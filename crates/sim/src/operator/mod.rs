//! How does the operator's own process behave: when does it look, what does it do, what does it
//! remember?
//!
//! The real `check`, `plan` and `report` run here in the real order: a plan from the watch cache;
//! if it has steps, a live look and a second plan, and only that one is acted on; then the report.

mod act;
mod observe;
mod pd_view;
mod servers;
mod stores_view;
mod wire;

use std::collections::BTreeMap;

pub use act::FINALIZER;
use observe::View;
use serde_json::Value;
use tikv_operator_api::v1alpha1::{TikvCluster, TikvClusterStatus};
use tikv_operator_core::check::{Rejection, check};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{self, Plan, Step};
use tikv_operator_core::report::{self, Outcome};
use tikv_operator_core::world::{
    Component, ConfigItem, ObjectKey, Refusal, Symptom, Trial, Uid, World,
};
pub use wire::{Faults, Write};

use crate::clock::SECOND;
use crate::dice::Dice;
use crate::kube::Cache;
use crate::universe::Universe;

/// Decides what is to be done. The real one, or a broken one in tests that the auditor must catch.
pub type Planner = fn(&Cluster, &World) -> Plan;
/// Computes the status. The real one, or a broken one.
pub type Reporter = fn(&Cluster, &World, &Plan, &[Outcome]) -> TikvClusterStatus;

/// The parts of the operator that a test may replace.
#[derive(Clone, Copy)]
pub struct Brain {
    /// `plan`.
    pub plan: Planner,
    /// `report`.
    pub report: Reporter,
}

impl Default for Brain {
    fn default() -> Self {
        Self { plan: plan::plan, report: |c, w, p, o| report::report(c, w, p, o).0 }
    }
}

/// What one pass did.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// The plan that was acted on, or the quiet one.
    pub plan: Option<Plan>,
    /// What came of its steps.
    pub outcomes: Vec<Outcome>,
    /// Why the spec was not accepted.
    pub rejected: Option<String>,
    /// The status was written.
    pub wrote_status: bool,
    /// Writes that reached the API server.
    pub writes: Vec<Write>,
    /// The process ended in the middle.
    pub crashed: bool,
}

/// What the process has seen of PD's leader, and since when it has had no answer.
#[derive(Clone, Debug, Default)]
struct Memory {
    leader: Option<(u64, u64)>,
    leader_changed: bool,
    silent_since: Option<u64>,
    /// Names that were taken when we wanted to create them: whose they are, and when that was.
    met: BTreeMap<ObjectKey, (String, u64)>,
    /// Settings that PD or a store refused, and when that was.
    config_refusals: BTreeMap<ConfigItem, (Refusal, u64)>,
    /// When the status was last written.
    reported: Option<u64>,
    /// Claims that the API server does not let grow: its words, and when.
    growth: BTreeMap<String, (String, u64)>,
    /// When each symptom was first seen, as long as it is seen.
    symptoms: BTreeMap<Symptom, u64>,
    /// Pods that were shown to the API server.
    trials: BTreeMap<Component, Trial>,
}

/// One look at a cluster.
pub(crate) struct Look {
    resource: TikvCluster,
    world: World,
    /// The version of the resource that was looked at, or that our last write made.
    version: String,
}

/// The operator's process for one cluster.
#[derive(Clone)]
pub struct Operator {
    /// Name of the resource.
    pub cluster: String,
    /// What it decides with.
    pub brain: Brain,
    /// What goes wrong between it and the API server.
    pub faults: Faults,
    /// Chance, apart from that of the universe: faults do not change what would happen without.
    dice: Dice,
    cache: Cache,
    memory: Memory,
    /// What `check` made of a spec, which it makes of the same spec every time.
    checked: Option<(Uid, i64, Result<Cluster, Rejection>)>,
    /// Writes since the beginning, over restarts.
    pub written: usize,
    seen_version: usize,
    wake_at: u64,
    down_until: u64,
}

/// The kinds that the operator watches.
const WATCHED: [&str; 7] = [
    "TikvCluster",
    "Pod",
    "PersistentVolumeClaim",
    "Service",
    "ConfigMap",
    "PodDisruptionBudget",
    "Node",
];

impl Operator {
    /// A process that watches one cluster.
    pub fn new(cluster: &str, seed: u64) -> Self {
        Self {
            cluster: cluster.to_owned(),
            brain: Brain::default(),
            faults: Faults::default(),
            dice: Dice::new(seed ^ 0x0f0f),
            cache: Cache::default(),
            memory: Memory::default(),
            checked: None,
            written: 0,
            seen_version: usize::MAX,
            wake_at: 0,
            down_until: 0,
        }
    }

    /// Ends the process; another one starts after `pause` milliseconds and remembers nothing.
    pub fn restart(&mut self, now: u64, pause: u64) {
        self.cache = Cache::default();
        self.memory = Memory::default();
        self.seen_version = usize::MAX;
        self.wake_at = 0;
        self.down_until = now + pause;
    }

    /// One pass if something changed or it is time. `None` while there is nothing to look at.
    pub fn tick(&mut self, universe: &mut Universe) -> Option<Pass> {
        if universe.now < self.down_until {
            return None;
        }
        let due = universe.now >= self.wake_at;
        if !due && universe.kube.version() == self.seen_version {
            return None;
        }
        self.follow_watches(universe);
        self.seen_version = universe.kube.version();
        let (pass, due) = self.pass(universe);
        let wake = pass.plan.as_ref().map_or(REJECTED_WAKE, |plan| millis(plan.wake));
        self.wake_at = (universe.now + wake.max(SECOND)).min(due.unwrap_or(u64::MAX));
        if pass.crashed {
            let pause = self.dice.between(1, 20) * SECOND;
            self.restart(universe.now, pause);
        }
        Some(pass)
    }

    /// Watches bring each kind up to date, or as far as they lag.
    fn follow_watches(&mut self, universe: &Universe) {
        let version = universe.kube.version();
        for kind in WATCHED {
            let lag = if self.dice.chance(self.faults.stale) { self.dice.below(30) } else { 0 };
            let seen = version.saturating_sub(usize::try_from(lag).unwrap_or_default());
            self.cache.follow(&universe.kube, kind, seen);
        }
    }

    /// observe, check, plan, act, report. Also says when a status that was held back is due.
    fn pass(&mut self, universe: &mut Universe) -> (Pass, Option<u64>) {
        let mut pass = Pass::default();
        let cached = self.cache.clone();
        let Some(mut look) = self.observe(&View::Cached(&cached), universe) else {
            return (pass, None);
        };
        let mut judged = self.judge_spec(&look);
        if !judged.1.is_empty() {
            // Nothing is done on a view that may be old.
            let Some(live) = self.observe(&View::Live, universe) else { return (pass, None) };
            look = live;
            judged = self.judge_spec(&look);
            self.act(universe, &mut look, &judged.1, &mut pass);
        }
        let released =
            |outcome: &Outcome| outcome.step == Step::ReleaseFinalizer && outcome.result.is_ok();
        let gone = pass.outcomes.iter().any(released);
        let status = match &judged.0 {
            Ok((cluster, plan)) => (self.brain.report)(cluster, &look.world, plan, &pass.outcomes),
            Err(rejection) => report::report_rejection(&look.world, rejection).0,
        };
        let mut due = None;
        if !pass.crashed && !gone {
            due = self.write_status(universe, &mut look, &status, &mut pass);
        }
        match judged.0 {
            Ok((_, plan)) => pass.plan = Some(plan),
            Err(rejection) => pass.rejected = Some(rejection.to_string()),
        }
        (pass, due)
    }

    /// What is to be done. A rejected spec has no steps, except that a resource that is being
    /// deleted is let go.
    fn judge_spec(&mut self, look: &Look) -> (Result<(Cluster, Plan), Rejection>, Vec<Step>) {
        match self.checked(look) {
            Ok(cluster) => {
                let plan = (self.brain.plan)(&cluster, &look.world);
                let steps = plan.steps.clone();
                (Ok((cluster, plan)), steps)
            }
            Err(rejection) => {
                let resource = &look.world.resource;
                let going = resource.deleting_since.is_some() && resource.finalizer;
                let steps = if going { vec![Step::ReleaseFinalizer] } else { Vec::new() };
                (Err(rejection), steps)
            }
        }
    }
}

impl Operator {
    /// The real `check`, once per generation: it is pure, and the slowest part of a pass.
    fn checked(&mut self, look: &Look) -> Result<Cluster, Rejection> {
        let (uid, generation) = (&look.world.resource.uid, look.world.resource.generation);
        if let Some((known, of, checked)) = &self.checked
            && known == uid
            && *of == generation
        {
            return checked.clone();
        }
        let checked = check(&look.resource);
        self.checked = Some((uid.clone(), generation, checked.clone()));
        checked
    }
}

/// A rejected spec is looked at again when it changes, and otherwise this often.
const REJECTED_WAKE: u64 = 60 * SECOND;

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

/// The resource as the operator's types have it. `None` where it does not parse, which the API
/// server's schema rules out.
fn typed(resource: &Value) -> Option<TikvCluster> {
    serde_json::from_value(resource.clone()).ok()
}
