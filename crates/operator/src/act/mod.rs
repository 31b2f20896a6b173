//! How is a plan carried out?
//!
//! A dumb interpreter: one match, one call per step, in order, and the first failure ends the
//! pass. What is decided here is only what an answer means. Before a step takes something away
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
    /// The steps that were tried; the last one may have failed.
    pub outcomes: Vec<Outcome>,
    /// Objects found in the way: whose they are.
    pub strangers: Vec<(ObjectKey, String)>,
    /// The namespace is being deleted: nothing can be created in it any more.
    pub namespace_is_going: bool,
    /// The resource as the last write to it left it, if there was one.
    pub resource: Option<Value>,
}

impl Acted {
    /// The failure that ended the pass.
    pub fn failure(&self) -> Option<&Failure> {
        self.outcomes.last().and_then(|outcome| outcome.result.as_ref().err())
    }
}

impl Hands {
    /// Carries out `steps`, which were planned on `look`, until one fails.
    pub async fn act(&self, look: &Look, steps: &[Step]) -> Acted {
        let mut hand = Hand { hands: self, look, acted: Acted::default() };
        for step in steps {
            let result = hand.take(step).await;
            let done = result.is_ok();
            log(step, result.as_ref().err());
            let outcome = if done { CallOutcome::Ok } else { CallOutcome::Failed };
            self.kubernetes.metrics().step(step.name(), outcome);
            hand.acted.outcomes.push(Outcome { step: step.clone(), result });
            if !done {
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
        if step.is_disruptive() && self.world().resource.deleting_since.is_none() {
            self.hands.budget.spend(&self.look.key, Instant::now()).map_err(|exhausted| {
                Failure { kind: FailureKind::Unavailable, message: exhausted.to_string() }
            })?;
        }
        match step {
            Step::AddFinalizer
            | Step::ReleaseFinalizer
            | Step::RecordBootstrap(_)
            | Step::RecordClusterId(_)
            | Step::Create(_)
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
