//! Which of several replicas acts?
//!
//! The one that holds a `coordination.k8s.io/v1` Lease. Steps are safe under two actors anyway
//! (each carries its preconditions); the lease keeps two from working at once.

mod election;
mod fence;

use std::time::Duration;

pub use election::{Election, Intent, Record, Terms};
pub use fence::{Fence, Fenced, Permit};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Map, Value, json};
use tikv_operator_api::labels::MANAGER;
use tokio::{sync::watch, time::Instant};

use crate::metrics::Metrics;

/// Time for one call about the lease.
const CALL: Duration = Duration::from_secs(5);

/// A call about the lease that failed.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("no answer within {} s", CALL.as_secs())]
    Slow,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// One replica's part in the election.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    election: Election,
    fence: Fence,
    leads: watch::Sender<bool>,
    metrics: Metrics,
}

impl Candidate {
    /// A candidate for the lease called `name`; `fence` opens while it is held, and `leads` says
    /// so.
    pub fn new(
        api: Api<Lease>,
        name: String,
        election: Election,
        fence: Fence,
        metrics: Metrics,
    ) -> Self {
        Self { api, name, election, fence, leads: watch::Sender::new(false), metrics }
    }

    /// Follows whether this replica leads.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Runs for the lease until `stop` turns true, then gives it back.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let next = self.turn().await;
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                // Also when nobody is left who could say stop.
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        // The call in hand ends first; what was not sent yet is refused.
        self.fence.drain().await;
        if *self.leads.borrow() {
            self.set_leads(false);
            match self.release().await {
                Ok(()) => tracing::info!("gave the lease back"),
                Err(error) => tracing::warn!(%error, "could not give the lease back"),
            }
        }
    }

    /// One look at the lease and what follows. Returns when to look again.
    async fn turn(&mut self) -> Instant {
        let retry = self.election.terms().retry;
        let next = match self.look_and_write().await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, lease = %self.name, "lease");
                Instant::now() + retry / 2
            }
        };
        let leads = *self.leads.borrow();
        if leads && (self.election.overdue(Instant::now()) || !self.fence.is_open()) {
            tracing::error!("lost the lease: it could not be renewed in time");
            self.election.lost();
            self.fence.close();
            self.set_leads(false);
        }
        next
    }

    async fn look_and_write(&mut self) -> Result<Instant, LeaseError> {
        let retry = self.election.terms().retry;
        let current = within(self.api.get_opt(&self.name)).await?;
        let intent = self.election.decide(current.as_ref().map(record), Instant::now());
        let sent = Instant::now();
        match intent {
            Intent::Follow(next) => {
                if *self.leads.borrow() {
                    tracing::error!("another replica has taken the lease");
                    self.election.lost();
                    self.fence.close();
                    self.set_leads(false);
                }
                return Ok(next);
            }
            Intent::Create => {
                let lease =
                    serde_json::from_value(self.claim(None)).map_err(kube::Error::SerdeError)?;
                within(self.api.create(&params(), &lease)).await?;
            }
            Intent::Renew | Intent::Take => {
                let patch = Patch::Merge(self.claim(current.as_ref()));
                within(self.api.patch(&self.name, &PatchParams::default(), &patch)).await?;
            }
        }
        let until = self.election.renewed(sent);
        self.fence.open(until);
        if !*self.leads.borrow() {
            tracing::info!(identity = self.election.identity(), "took the lease");
            self.set_leads(true);
        }
        Ok(sent + retry)
    }

    /// The lease as ours. With the version of what was read, so that of two candidates one wins.
    fn claim(&self, current: Option<&Lease>) -> Value {
        let now = micro(Timestamp::now());
        let before = current.and_then(|lease| lease.spec.as_ref());
        let holder = before.and_then(|spec| spec.holder_identity.as_deref());
        let mut spec = Map::new();
        spec.insert("holderIdentity".to_owned(), json!(self.election.identity()));
        let seconds = self.election.terms().duration.as_secs();
        spec.insert("leaseDurationSeconds".to_owned(), json!(seconds));
        spec.insert("renewTime".to_owned(), json!(now));
        if holder != Some(self.election.identity()) {
            let transitions = before.and_then(|spec| spec.lease_transitions);
            let transitions = transitions.map_or(0, |n| n.saturating_add(1));
            spec.insert("acquireTime".to_owned(), json!(now));
            spec.insert("leaseTransitions".to_owned(), json!(transitions));
        }
        // An absent version is null, which a merge patch and a create leave out.
        let version = current.and_then(|lease| lease.metadata.resource_version.as_ref());
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": self.name, "resourceVersion": version }, "spec": spec,
        })
    }

    async fn release(&self) -> Result<(), LeaseError> {
        let current = within(self.api.get(&self.name)).await?;
        let holder = current.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if holder != Some(self.election.identity()) {
            return Ok(());
        }
        let patch = json!({
            "metadata": { "resourceVersion": current.metadata.resource_version },
            "spec": { "holderIdentity": "", "renewTime": micro(Timestamp::now()) },
        });
        within(self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))).await?;
        Ok(())
    }

    fn set_leads(&self, leads: bool) {
        self.metrics.set_leader(leads);
        self.leads.send_replace(leads);
    }
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LeaseError::Slow),
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// `MicroTime` has exactly six digits.
fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(15);
    Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|name| !name.is_empty()),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
