//! How does the operator's own process behave: when does it look, what does it do, what does it
//! remember?
//!
//! The real `check`, `plan` and `report` run here in the real order: a plan from the watch cache;
//! if it has steps, a live look and a second plan, and only that one is acted on; then the report.

mod act;
mod observe;
mod pd_view;
mod wire;

use std::collections::BTreeSet;

pub use act::FINALIZER;
use observe::View;
use serde_json::Value;
use tikv_operator_api::v1alpha1::{TikvCluster, TikvClusterStatus};
use tikv_operator_core::check::check;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{self, Plan};
use tikv_operator_core::report::{self, Outcome};
use tikv_operator_core::world::{ObjectKey, World};
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
    /// Names that were taken when we wanted to create them: looked at by name from then on.
    taken: BTreeSet<ObjectKey>,
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
    /// Writes since the beginning, over restarts.
    pub written: usize,
    seen_version: usize,
    wake_at: u64,
    down_until: u64,
}

/// The kinds that the operator watches.
const WATCHED: [&str; 6] =
    ["TikvCluster", "Pod", "PersistentVolumeClaim", "Service", "ConfigMap", "PodDisruptionBudget"];

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
        let pass = self.pass(universe);
        let wake = pass.plan.as_ref().map_or(10 * SECOND, |plan| millis(plan.wake));
        self.wake_at = universe.now + wake.max(SECOND);
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

    /// observe, check, plan, act, report.
    fn pass(&mut self, universe: &mut Universe) -> Pass {
        let mut pass = Pass::default();
        let cached = self.cache.clone();
        let Some((resource, mut world)) = self.observe(&View::Cached(&cached), universe) else {
            return pass;
        };
        let mut cluster = match check(&resource) {
            Ok(cluster) => cluster,
            Err(rejection) => {
                pass.rejected = Some(rejection.to_string());
                let (status, _) = report::report_rejection(&world, &rejection);
                self.write_status(universe, &world, &status, &mut pass);
                return pass;
            }
        };
        let mut plan = (self.brain.plan)(&cluster, &world);
        if !plan.steps.is_empty() {
            // Nothing is done on a view that may be old.
            let Some((resource, live)) = self.observe(&View::Live, universe) else { return pass };
            let Ok(checked) = check(&resource) else { return pass };
            (cluster, world) = (checked, live);
            plan = (self.brain.plan)(&cluster, &world);
            self.act(universe, &world, &plan, &mut pass);
        }
        let status = (self.brain.report)(&cluster, &world, &plan, &pass.outcomes);
        if !pass.crashed {
            self.write_status(universe, &world, &status, &mut pass);
        }
        pass.plan = Some(plan);
        pass
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

/// The resource as the operator's types have it. `None` where it does not parse, which the API
/// server's schema rules out.
fn typed(resource: &Value) -> Option<TikvCluster> {
    serde_json::from_value(resource.clone()).ok()
}
