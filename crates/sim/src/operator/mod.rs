//! How does the operator's own process behave: when does it look, what does it do, what does it
//! remember?
//!
//! The real `check`, `plan` and `report` run here in the real order: a plan from the watch cache;
//! if it has steps, a live look and a second plan, and only that one is acted on; then the report.

mod act;
mod alike;
mod half;
mod known;
mod observe;
pub mod pd_http;
mod pd_view;
mod servers;
mod stores_view;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use act::FINALIZER;
use jiff::{SignedDuration, Timestamp};
use known::Known;
use observe::View;
use serde::Deserialize as _;
use serde_json::Value;
use tikv_operator_api::v1alpha1::{TikvCluster, TikvClusterStatus};
use tikv_operator_core::check::{Rejection, check};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{self, Plan, Step};
use tikv_operator_core::report::{self, Kept, Outcome};
use tikv_operator_core::world::{
    Component, ConfigItem, ObjectKey, PdView, Refusal, StoreId, Symptom, Trial, Uid, World,
};
pub use wire::{Faults, Write};

use crate::clock::SECOND;
use crate::dice::Dice;
use crate::kube::{Cache, Object, at};
use crate::universe::Universe;

/// Decides what is to be done. The real one, or a broken one in tests that the auditor must catch.
pub type Planner = fn(&Cluster, &World) -> Plan;
/// Computes the status. The real one, or a broken one.
pub type Reporter = fn(&Cluster, &World, &Plan, &[Outcome]) -> TikvClusterStatus;

/// Turns a spec into a cluster, or refuses it. The real one, or a broken one.
pub type Checker = fn(&TikvCluster) -> Result<Cluster, Rejection>;

/// The parts of the operator that a test may replace.
#[derive(Clone, Copy)]
pub struct Brain {
    /// `check`.
    pub check: Checker,
    /// `plan`.
    pub plan: Planner,
    /// `report`.
    pub report: Reporter,
}

impl Default for Brain {
    fn default() -> Self {
        Self { check, plan: plan::plan, report: |c, w, p, o| report::report(c, w, p, o).0 }
    }
}

/// What one pass did.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// The plan that was acted on, or the quiet one.
    pub plan: Option<Plan>,
    /// What came of its steps.
    pub outcomes: Vec<Outcome>,
    /// The generation of the spec that it was made for.
    pub planned_for: Option<u64>,
    /// Why the spec was not accepted.
    pub rejected: Option<String>,
    /// The status was written.
    pub wrote_status: bool,
    /// Writes that reached the API server.
    pub writes: Vec<Write>,
    /// The process ended in the middle.
    pub crashed: bool,
}

impl Pass {
    fn planned(&mut self, cluster: &Cluster, plan: Plan) {
        self.planned_for = u64::try_from(cluster.generation).ok();
        self.plan = Some(plan);
    }
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
    /// What was applied to an object, how often in a row, and when for the last time.
    applied: BTreeMap<ObjectKey, (String, u32, u64)>,
    /// How stores said that they are configured.
    store_configs: BTreeMap<StoreId, StoreConfig>,
    /// When each symptom was first seen, as long as it is seen.
    symptoms: BTreeMap<Symptom, u64>,
    /// Pods that were shown to the API server, and when.
    trials: BTreeMap<Component, (Trial, u64)>,
    /// The latest generation of the spec that was seen with them.
    tried_for: i64,
}

/// What `check` made of a spec, which it makes of the same spec every time.
#[derive(Clone)]
struct Checked {
    uid: Uid,
    generation: i64,
    verdict: Result<Arc<Cluster>, Rejection>,
}

/// How a store was configured when it was last asked.
#[derive(Clone, Debug)]
struct StoreConfig {
    /// The start of the process that was asked: settings live as long as it does.
    started: Option<Timestamp>,
    read: u64,
    config: Arc<Value>,
}

/// One look at a cluster.
pub(crate) struct Look {
    resource: Arc<Object>,
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
    /// How far its machine's wall clock is ahead. Its monotonic clock is right.
    pub clock_off: SignedDuration,
    /// Kinds whose watch tells nothing.
    pub deaf: BTreeSet<String>,
    /// Chance, apart from that of the universe: faults do not change what would happen without.
    dice: Dice,
    cache: Cache,
    known: Known,
    memory: Memory,
    checked: Option<Checked>,
    /// The last spec that was valid, and whose: as far back as this process goes.
    valid: Option<(Uid, Arc<Cluster>)>,
    /// Writes since the beginning, over restarts.
    pub written: usize,
    seen_version: usize,
    wake_at: u64,
    /// Before this it is still busy with its last look.
    busy_until: u64,
    down_until: u64,
}

/// A watch that lags is less than so many changes behind.
pub(crate) const MOST_LAG: usize = 30;

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
            clock_off: SignedDuration::ZERO,
            deaf: BTreeSet::new(),
            dice: Dice::new(seed ^ 0x0f0f),
            cache: Cache::default(),
            known: Known::default(),
            memory: Memory::default(),
            checked: None,
            valid: None,
            written: 0,
            seen_version: usize::MAX,
            wake_at: 0,
            busy_until: 0,
            down_until: 0,
        }
    }

    /// Ends the process; another one starts after `pause` milliseconds and remembers nothing.
    pub fn restart(&mut self, now: u64, pause: u64) {
        self.cache = Cache::default();
        self.known = Known::default();
        self.memory = Memory::default();
        self.valid = None;
        // A new process begins with a list of every kind.
        self.deaf.clear();
        self.seen_version = usize::MAX;
        (self.wake_at, self.busy_until) = (0, 0);
        self.down_until = now + pause;
    }

    /// One pass if something changed or it is time. `None` while there is nothing to look at.
    pub fn tick(&mut self, universe: &mut Universe) -> Option<Pass> {
        if universe.now < self.down_until.max(self.busy_until) {
            return None;
        }
        if universe.now < self.wake_at && !self.is_told(universe) {
            self.seen_version = universe.kube.version();
            return None;
        }
        self.follow_watches(universe);
        self.seen_version = universe.kube.version();
        let (pass, due) = self.pass(universe);
        let wake = pass.plan.as_ref().map_or(REJECTED_WAKE, |plan| millis(plan.wake));
        self.busy_until = universe.now + self.faults.pace * SECOND;
        self.wake_at = (universe.now + wake.max(SECOND)).min(due.unwrap_or(u64::MAX));
        if pass.crashed {
            let pause = self.dice.between(1, 20) * SECOND;
            self.restart(universe.now, pause);
        }
        Some(pass)
    }

    /// Its watches have told it something that it has not looked at.
    fn is_told(&self, universe: &Universe) -> bool {
        universe.kube.concerns(self.seen_version, &self.cluster)
    }

    /// The next moment in which it has cause to look, as things are.
    pub fn next_look(&self, universe: &Universe) -> u64 {
        let due = if self.is_told(universe) { 0 } else { self.wake_at };
        due.max(self.busy_until).max(self.down_until)
    }

    /// Watches bring each kind up to date, or as far as they lag.
    fn follow_watches(&mut self, universe: &Universe) {
        let version = universe.kube.version();
        let watches = WATCHED.map(|kind| {
            if self.deaf.contains(kind) {
                return (kind, 0);
            }
            let lag = if self.dice.chance(self.faults.stale) {
                self.dice.below(MOST_LAG as u64)
            } else {
                0
            };
            (kind, version.saturating_sub(usize::try_from(lag).unwrap_or_default()))
        });
        self.cache.follow(&universe.kube, &watches);
    }

    /// observe, check, plan, act, report. Also says when a status that was held back is due.
    fn pass(&mut self, universe: &mut Universe) -> (Pass, Option<u64>) {
        let mut pass = Pass::default();
        let cache = std::mem::take(&mut self.cache);
        let cached = self.observe(View::Cached(&cache), universe);
        let current = cache.is_current(&universe.kube);
        self.cache = cache;
        let decided = cached.and_then(|look| self.decide(look, current, universe, &mut pass));
        let Some((look, due)) = decided else { return (pass, None) };
        self.known.give_back(look.resource, look.world);
        (pass, due)
    }

    /// What follows from a look at the caches, which are as good as live ones where they are
    /// `current`.
    fn decide(
        &mut self,
        mut look: Look,
        current: bool,
        universe: &mut Universe,
        pass: &mut Pass,
    ) -> Option<(Look, Option<u64>)> {
        let mut judged = self.judge_spec(&look)?;
        if !judged.steps().is_empty() {
            // Nothing is done on a view that may be old.
            if !(current && self.hears_the_same(&mut look, universe)) {
                self.known.give_back(look.resource, look.world);
                look = self.observe(View::Live, universe)?;
                judged = self.judge_spec(&look)?;
            }
            self.act(universe, &mut look, judged.steps(), pass);
        }
        let released =
            |outcome: &Outcome| outcome.step == Step::ReleaseFinalizer && outcome.result.is_ok();
        let gone = pass.outcomes.iter().any(released);
        let mut due = None;
        if !pass.crashed && !gone {
            let status = self.report(&look, &judged, pass);
            due = self.write_status(universe, &mut look, &status, pass);
        }
        match judged {
            Judgement::Planned(cluster, plan) => pass.planned(&cluster, plan),
            Judgement::Kept(rejection, cluster, plan) => {
                pass.planned(&cluster, plan);
                pass.rejected = Some(rejection.to_string());
            }
            Judgement::Rejected(rejection, _) => pass.rejected = Some(rejection.to_string()),
        }
        Some((look, due))
    }

    /// The second look, where the caches have all that the API server has: the servers are asked
    /// again. What was planned stands where they say the same, since a plan follows from what was
    /// seen alone.
    fn hears_the_same(&mut self, look: &mut Look, universe: &mut Universe) -> bool {
        let world = &mut look.world;
        let pd = std::mem::replace(&mut world.pd, PdView::NotCreated);
        let processes = std::mem::take(&mut world.processes);
        let seen_for = std::mem::take(&mut world.seen_for);
        self.ask_servers(world, &look.resource, universe);
        world.pd == pd && world.processes == processes && world.seen_for == seen_for
    }

    /// What is to be done. While a spec is rejected the last valid one stays in force. Where none is
    /// known there are no steps, except that a resource that is being deleted is let go. `None` where the resource does not parse, which the API server's schema
    /// rules out.
    fn judge_spec(&mut self, look: &Look) -> Option<Judgement> {
        match self.checked(look)? {
            Ok(cluster) => {
                self.valid = Some((look.world.resource.uid.clone(), Arc::clone(&cluster)));
                let plan = (self.brain.plan)(&cluster, &look.world);
                Some(Judgement::Planned(cluster, plan))
            }
            Err(rejection) => {
                if let Some(cluster) = self.kept(look) {
                    let plan = (self.brain.plan)(&cluster, &look.world);
                    return Some(Judgement::Kept(rejection, cluster, plan));
                }
                let resource = &look.world.resource;
                let going = resource.deleting_since.is_some() && resource.finalizer;
                let steps = if going { vec![Step::ReleaseFinalizer] } else { Vec::new() };
                Some(Judgement::Rejected(rejection, steps))
            }
        }
    }

    /// The real `check`, once per generation: it is pure, and the slowest part of a pass.
    fn checked(&mut self, look: &Look) -> Option<Result<Arc<Cluster>, Rejection>> {
        let (uid, generation) = (&look.world.resource.uid, look.world.resource.generation);
        let known = self.checked.as_ref();
        if let Some(known) = known.filter(|k| k.uid == *uid && k.generation == generation) {
            return Some(known.verdict.clone());
        }
        let verdict = (self.brain.check)(&typed(&look.resource)?).map(Arc::new);
        let known = Checked { uid: uid.clone(), generation, verdict: verdict.clone() };
        self.checked = Some(known);
        Some(verdict)
    }

    /// The last valid spec of the same resource, unless the present one asks for a pause: whoever pauses
    /// means it.
    fn kept(&self, look: &Look) -> Option<Arc<Cluster>> {
        let paused = at(&look.resource, "/spec/paused").as_bool() == Some(true);
        let of = |(uid, _): &&(Uid, _)| *uid == look.world.resource.uid && !paused;
        self.valid.as_ref().filter(of).map(|(_, cluster)| Arc::clone(cluster))
    }

    fn report(&self, look: &Look, judged: &Judgement, pass: &Pass) -> TikvClusterStatus {
        match judged {
            Judgement::Planned(cluster, plan) => {
                (self.brain.report)(cluster, &look.world, plan, &pass.outcomes)
            }
            Judgement::Kept(rejection, cluster, plan) => {
                let kept = Kept { rejection, cluster };
                report::report_kept(&kept, &look.world, plan, &pass.outcomes).0
            }
            Judgement::Rejected(rejection, _) => report::report_rejection(&look.world, rejection).0,
        }
    }
}

/// What the pure part made of a look.
enum Judgement {
    Planned(Arc<Cluster>, Plan),
    Kept(Rejection, Arc<Cluster>, Plan),
    Rejected(Rejection, Vec<Step>),
}

impl Judgement {
    fn steps(&self) -> &[Step] {
        match self {
            Self::Planned(_, plan) | Self::Kept(_, _, plan) => &plan.steps,
            Self::Rejected(_, steps) => steps,
        }
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
    TikvCluster::deserialize(resource).ok()
}
