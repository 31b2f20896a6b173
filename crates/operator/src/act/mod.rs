//! How is a plan carried out?
//!
//! A dumb interpreter: one match, one call per step, in order. A refusal holds up the steps that
//! build on it; any other failure ends the pass, because what follows was planned on a state that is
//! no longer known. What is decided here is only what an answer means. Before a step takes something away
//! that PD knows about, PD is read again (`again`): what it says must be what was planned on.

mod again;
mod create;
mod mark;
mod migrate;
mod objects;
mod pd;
mod store;

#[cfg(test)]
mod again_tests;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod pd_tests;

use serde_json::Value;
use tikv_operator_core::{
    plan::Step,
    report::{Failure, FailureKind, Outcome},
    world::{Kind, ObjectKey, World},
};
use tokio::time::Instant;

use self::again::Verdict;
pub use self::objects::status_body;
use crate::{
    budget::Budget,
    controller::Key,
    kubernetes::{Kubernetes, Place, Resource},
    lease::Fence,
    metrics::CallOutcome,
    observe::Look,
    pd::PdClient,
    store::StoreClient,
};

/// The operator's finalizer on a `TikvCluster`.
pub const FINALIZER: &str = "tikv.org/volumes";

/// What steps are done with.
pub struct Hands {
    /// For objects.
    pub kubernetes: Kubernetes,
    /// For PD.
    pub pd: PdClient,
    /// For the status ports of stores.
    pub stores: StoreClient,
    /// The limit of what may be taken away.
    pub budget: Budget,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Acted {
    /// The steps that were tried. Those that were refused are among them; any other failure is the
    /// last one.
    pub outcomes: Vec<Outcome>,
    /// Objects found in the way: whose they are.
    pub strangers: Vec<(ObjectKey, String)>,
    /// The namespace is being deleted: nothing can be created in it any more.
    pub namespace_is_going: bool,
    /// The resource as the last write to it left it, if there was one.
    pub resource: Option<Value>,
}

impl Acted {
    /// The failure that ended the pass; if it came to its end, the first refusal in it.
    pub fn failure(&self) -> Option<&Failure> {
        let failures = || self.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err());
        let ended = failures().find(|failure| failure.kind != FailureKind::Refused);
        ended.or_else(|| failures().next())
    }

    /// Was anything done?
    pub fn did_something(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.result.is_ok())
    }

    /// Was a step refused on which `step` builds?
    fn holds_up(&self, step: &Step, cluster: &str) -> bool {
        let mut refused = self.outcomes.iter().filter(|outcome| outcome.result.is_err());
        refused.any(|outcome| step.builds_on(&outcome.step, cluster))
    }
}

impl Hands {
    /// Carries out `steps`, which were planned on `look`.
    pub async fn act(&self, look: &Look, steps: &[Step]) -> Acted {
        let mut hand = Hand { hands: self, look, acted: Acted::default() };
        for step in steps {
            if hand.acted.holds_up(step, &look.key.name) {
                continue;
            }
            let result = hand.take(step).await;
            log(step, result.as_ref().err());
            let failure = result.as_ref().err().map(|failure| failure.kind);
            let outcome = failure.map_or(CallOutcome::Ok, CallOutcome::from);
            self.kubernetes.metrics().step(step.name(), outcome);
            let ends = result.as_ref().is_err_and(|f| f.kind != FailureKind::Refused);
            hand.acted.outcomes.push(Outcome { step: step.clone(), result });
            if ends {
                break;
            }
        }
        hand.acted
    }
}

struct Hand<'a> {
    hands: &'a Hands,
    look: &'a Look,
    acted: Acted,
}

impl Hand<'_> {
    async fn take(&mut self, step: &Step) -> Result<(), Failure> {
        match self.read_again(step).await? {
            Verdict::Done => return Ok(()),
            Verdict::Go => {}
        }
        if !step.is_disruptive() || self.world().resource.deleting_since.is_some() {
            return self.call(step).await;
        }
        let (budget, key, now) = (&self.hands.budget, &self.look.key, Instant::now());
        // Said like a refusal of a server: it stays until time passes or somebody acts.
        budget.spend(key, now).map_err(|exhausted| Failure {
            kind: FailureKind::Refused,
            message: format!("{} of {} not done: {exhausted}", step.name(), step.subject()),
        })?;
        let done = self.call(step).await;
        let nothing_taken = |failure: &Failure| match failure.kind {
            FailureKind::Refused | FailureKind::Stale | FailureKind::Foreign => true,
            // The answer may be lost, and the deed done.
            FailureKind::Unavailable => false,
        };
        if done.as_ref().is_err_and(nothing_taken) {
            budget.give_back(key, now);
        }
        done
    }

    async fn call(&mut self, step: &Step) -> Result<(), Failure> {
        match step {
            Step::AddFinalizer
            | Step::ReleaseFinalizer
            | Step::RecordBootstrap(_)
            | Step::RecordClusterId(_)
            | Step::Create(_)
            | Step::TryPod { .. }
            | Step::Apply { .. }
            | Step::Prune { .. }
            | Step::MarkVolume { .. }
            | Step::Mark { .. }
            | Step::ResizeVolume { .. }
            | Step::SetStoreUp { .. }
            | Step::DeletePod { .. }
            | Step::DeleteVolume { .. } => self.take_object(step).await,
            Step::EvictLeaders { .. }
            | Step::StopEvicting { .. }
            | Step::OfflineStore { .. }
            | Step::KeepStore { .. }
            | Step::TransferPdLeader { .. }
            | Step::RemovePdMember { .. }
            | Step::SetPdConfig { .. }
            | Step::SetStoreLabels { .. }
            | Step::LockMaintenance { .. }
            | Step::UnlockMaintenance { .. } => self.take_pd(step).await,
            Step::SetStoreConfig { store, status_address, items } => {
                self.configure_store(*store, status_address, items).await
            }
        }
    }

    /// PD as it is now, where the step takes away something that PD knows about.
    async fn read_again(&self, step: &Step) -> Result<Verdict, Failure> {
        if !again::is_needed(step, self.world()) {
            return Ok(Verdict::Go);
        }
        let now = self.hands.pd.again(&self.look.pd).await.map_err(|error| Failure {
            kind: FailureKind::Unavailable,
            message: format!(
                "PD could not be read again before {} of {}: {error}",
                step.name(),
                step.subject()
            ),
        })?;
        again::verify(step, self.world(), &now).map_err(|difference| Failure {
            kind: FailureKind::Stale,
            message: format!("{} of {} not done: {difference}", step.name(), step.subject()),
        })
    }

    fn kubernetes(&self) -> &Kubernetes {
        &self.hands.kubernetes
    }

    /// What every call that changes something passes, wherever it goes.
    fn fence(&self) -> &Fence {
        self.hands.kubernetes.fence()
    }

    fn world(&self) -> &World {
        &self.look.world
    }

    fn place<'b>(&'b self, kind: Kind, name: &'b str) -> Place<'b> {
        Place { resource: Resource::Part(kind), namespace: &self.look.key.namespace, name }
    }

    fn resource(&self) -> Place<'_> {
        let Key { namespace, name } = &self.look.key;
        Place { resource: Resource::Cluster, namespace, name }
    }
}

fn log(step: &Step, failure: Option<&Failure>) {
    let (step, subject) = (step.name(), step.subject());
    match failure {
        None => tracing::info!(step, subject, "done"),
        Some(failure) => tracing::warn!(step, subject, failure = %failure.message, "not done"),
    }
}
