//! What is done for one cluster in one pass?
//!
//! observe -> check -> plan -> act -> report. The first look is at the caches; where its plan has
//! any step, the cluster is looked at live, planned again, and only that second plan is acted on.

use std::time::Duration;

use tikv_operator_core::{
    check::Rejection,
    cluster::Cluster,
    plan::{Plan, Severity, Step, plan},
    report::{Failure, FailureKind, Kept, Outcome, report, report_kept, report_rejection},
    world::{Trial, World},
};
use tokio::time::Instant;

use super::{AFTER_FAILURE, Backoff, Key, Publisher, outcome};
use crate::{
    act::{Acted, Hands},
    metrics::{ClusterRow, Metrics},
    observe::{LastCheck, Look, Memory, ObserveError, Observer},
};

/// Longest wait after a refusal that a person may lift without touching the resource (quota,
/// role). What does not build on it goes on meanwhile, and is looked after more often.
const REFUSED_CAP: Duration = Duration::from_mins(1);
/// A rejected spec is looked at again only because the wait for its edit must not depend on a
/// watch alone.
const REJECTED_WAKE: Duration = Duration::from_mins(5);
/// Soon after something changed under our hands.
const SOON: Duration = Duration::from_secs(1);

/// What passes need.
pub struct Pass {
    /// The eyes.
    pub observer: Observer,
    /// The hands.
    pub hands: Hands,
    /// The voice.
    pub publisher: Publisher,
}

/// How a pass ended.
#[derive(Debug)]
pub enum Passed {
    /// There is no such resource any more.
    Gone,
    /// All is done that can be done now.
    Done {
        /// Look again after this time.
        wake: Duration,
        /// What is counted.
        row: ClusterRow,
    },
    /// Something failed; try again later and later.
    Failed {
        /// The longest time to wait.
        cap: Duration,
        /// What is counted, where that is known.
        row: Option<ClusterRow>,
    },
}

/// What the pure part made of a look.
enum Judgement {
    Planned(Box<Cluster>, Plan),
    /// The spec is not valid: what the last valid one asks for.
    Kept(Rejection, Box<Cluster>, Plan),
    Rejected(Rejection),
}

impl Judgement {
    fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Planned(_, plan) | Self::Kept(_, _, plan) => Some(plan),
            Self::Rejected(_) => None,
        }
    }
}

impl Pass {
    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        self.hands.kubernetes.metrics()
    }

    /// Looks after one cluster, once. Never fails: what goes wrong is logged and comes back as
    /// [`Passed::Failed`].
    pub async fn run(&self, key: &Key, memory: &mut Memory) -> Passed {
        let start = Instant::now();
        let passed = match Box::pin(self.attempt(key, memory)).await {
            Ok(passed) => passed,
            Err(error) => {
                tracing::warn!("cannot look at the cluster: {error}");
                Passed::Failed { cap: Backoff::CAP, row: None }
            }
        };
        self.metrics().reconciled(outcome(&passed), start.elapsed());
        passed
    }

    async fn attempt(&self, key: &Key, memory: &mut Memory) -> Result<Passed, ObserveError> {
        let Some(look) = self.observer.cached(key, memory).await? else { return Ok(Passed::Gone) };
        let judgement = judge(&look, &mut memory.spec);
        memory.planned(is_calm(&judgement));
        let going = memory.namespace_is_going(Instant::now());
        if steps(&judgement, &look.world).iter().all(|step| is_create(step) && going) {
            return Ok(self.close(memory, look, &judgement, Acted::default()).await);
        }
        let live = Box::pin(self.observer.live(key, memory));
        let Some(look) = live.await? else { return Ok(Passed::Gone) };
        let judgement = judge(&look, &mut memory.spec);
        memory.planned(is_calm(&judgement));
        let mut planned = steps(&judgement, &look.world);
        if memory.namespace_is_going(Instant::now()) {
            planned.retain(|step| !is_create(step));
        }
        let acted = self.hands.act(&look, &planned).await;
        if acted.namespace_is_going {
            memory.namespace_went = Some(Instant::now());
        }
        for (object, whose) in &acted.strangers {
            memory.met(object.clone(), whose.clone(), Instant::now());
        }
        for outcome in &acted.outcomes {
            remember(memory, outcome);
            memory.configured(outcome, Instant::now());
        }
        Ok(self.close(memory, look, &judgement, acted).await)
    }

    /// Reports, and says when to look again.
    async fn close(
        &self,
        memory: &mut Memory,
        look: Look,
        judgement: &Judgement,
        acted: Acted,
    ) -> Passed {
        let failure = acted.failure().cloned();
        let released = acted
            .outcomes
            .iter()
            .any(|outcome| outcome.step == Step::ReleaseFinalizer && outcome.result.is_ok());
        if released {
            // The resource is gone now: there is nothing left to report on.
            return Passed::Done { wake: SOON, row: ClusterRow::default() };
        }
        let speak = |world: &World| speak(judgement, world, &acted.outcomes);
        let published = self.publisher.publish(memory, look, acted.resource.as_ref(), &speak).await;
        let row = published.row;
        let moves = acted.did_something() || moves(judgement);
        match failure.or(published.failure) {
            None => Passed::Done { wake: published.wake.min(wake(judgement)), row },
            Some(failure) => failed(&failure, moves, row),
        }
    }
}

/// `moves`: something else in the cluster is on its way.
fn failed(failure: &Failure, moves: bool, row: ClusterRow) -> Passed {
    match failure.kind {
        // The next plan knows the stranger and waits.
        FailureKind::Foreign => Passed::Done { wake: SOON, row },
        FailureKind::Refused => {
            let cap = if moves { AFTER_FAILURE } else { REFUSED_CAP };
            Passed::Failed { cap, row: Some(row) }
        }
        FailureKind::Stale => Passed::Failed { cap: SOON, row: Some(row) },
        FailureKind::Unavailable => Passed::Failed { cap: Backoff::CAP, row: Some(row) },
    }
}

fn judge(look: &Look, spec: &mut LastCheck) -> Judgement {
    match spec.of(&look.resource, &look.world.resource) {
        Ok(cluster) => {
            let plan = plan(&cluster, &look.world);
            Judgement::Planned(Box::new(cluster), plan)
        }
        Err(rejection) => match spec.kept(&look.resource, &look.world.resource) {
            Some(cluster) => {
                let plan = plan(&cluster, &look.world);
                Judgement::Kept(rejection, Box::new(cluster), plan)
            }
            None => Judgement::Rejected(rejection),
        },
    }
}

/// What later looks are told about a step of this pass.
fn remember(memory: &mut Memory, outcome: &Outcome) {
    if let Step::SetStoreConfig { store, .. } = &outcome.step {
        memory.forget_store_config(*store);
    }
    let failure = outcome.result.as_ref().err();
    let refusal = failure.filter(|failure| failure.kind == FailureKind::Refused);
    let refused = refusal.map(|failure| failure.message.clone());
    if matches!(outcome.step, Step::TransferPdLeader { .. }) && refused.is_none() {
        memory.gave_leadership();
    }
    if let Step::ResizeVolume { name, .. } = &outcome.step {
        memory.grew(name, refused, Instant::now());
    } else if let Step::Apply { object, .. } = &outcome.step
        && failure.is_none()
    {
        memory.applied(object, Instant::now());
    } else if let Step::TryPod { component, revision, .. } = &outcome.step
        && (failure.is_none() || refused.is_some())
    {
        let trial = Trial { revision: revision.clone(), refused };
        memory.tried(*component, trial, Instant::now());
    }
}

/// Nothing to do and nothing to wait for.
fn is_calm(judgement: &Judgement) -> bool {
    judgement.plan().is_none_or(|plan| plan.steps.is_empty() && plan.waits.is_empty())
}

/// The steps to take. A rejected spec has none, with one exception: a resource that is being
/// deleted is let go (its volumes stay), or it would hold its namespace for ever.
fn steps(judgement: &Judgement, world: &World) -> Vec<Step> {
    match judgement {
        Judgement::Planned(_, plan) | Judgement::Kept(_, _, plan) => plan.steps.clone(),
        Judgement::Rejected(_)
            if world.resource.deleting_since.is_some() && world.resource.finalizer =>
        {
            vec![Step::ReleaseFinalizer]
        }
        Judgement::Rejected(_) => Vec::new(),
    }
}

/// Does anything wait for something that is on its way by itself?
fn moves(judgement: &Judgement) -> bool {
    let mut waits = judgement.plan().into_iter().flat_map(|plan| &plan.waits);
    waits.any(|wait| wait.severity == Severity::Progress)
}

fn is_create(step: &Step) -> bool {
    matches!(step, Step::Create(_))
}

fn wake(judgement: &Judgement) -> Duration {
    judgement.plan().map_or(REJECTED_WAKE, |plan| plan.wake)
}

/// What is to be said, and the rules that hold something.
pub(super) struct Speech {
    pub(super) status: tikv_operator_api::TikvClusterStatus,
    pub(super) notes: Vec<tikv_operator_core::report::Note>,
    pub(super) rules: Vec<&'static str>,
}

fn speak(judgement: &Judgement, world: &World, outcomes: &[Outcome]) -> Speech {
    let rules = |plan: &Plan| plan.waits.iter().map(|wait| wait.rule.name).collect();
    match judgement {
        Judgement::Planned(cluster, plan) => {
            let (status, notes) = report(cluster, world, plan, outcomes);
            Speech { status, notes, rules: rules(plan) }
        }
        Judgement::Kept(rejection, cluster, plan) => {
            let kept = Kept { rejection, cluster };
            let (status, notes) = report_kept(&kept, world, plan, outcomes);
            Speech { status, notes, rules: rules(plan) }
        }
        Judgement::Rejected(rejection) => {
            let (status, notes) = report_rejection(world, rejection);
            Speech { status, notes, rules: Vec::new() }
        }
    }
}
