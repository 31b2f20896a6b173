//! How is a plan carried out?
//!
//! A dumb interpreter: one match, one call per step, in order, and the first failure ends the
//! pass. What is decided here is only what an answer of the API server means.

mod create;
mod mark;
mod migrate;

use serde_json::{Value, json};
use tikv_operator_core::{
    build,
    plan::Step,
    report::{self, Failure, FailureKind, Outcome},
    world::{Kind, Object, ObjectKey, Uid, World},
};
use tokio::time::Instant;

use crate::{
    budget::Budget,
    controller::Key,
    kubernetes::{ApiError, Change, Kubernetes, Place, Resource},
    metrics::CallOutcome,
    observe::Look,
};

/// The operator's finalizer on a `TikvCluster`.
pub const FINALIZER: &str = "tikv.org/volumes";

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

/// Carries out `steps`, which were planned on `look`, until one fails.
pub async fn act(kubernetes: &Kubernetes, budget: &Budget, look: &Look, steps: &[Step]) -> Acted {
    let mut hand = Hand { kubernetes, budget, look, acted: Acted::default() };
    for step in steps {
        let result = hand.take(step).await;
        let done = result.is_ok();
        log(step, result.as_ref().err());
        let outcome = if done { CallOutcome::Ok } else { CallOutcome::Failed };
        kubernetes.metrics().step(step.name(), outcome);
        hand.acted.outcomes.push(Outcome { step: step.clone(), result });
        if !done {
            break;
        }
    }
    hand.acted
}

struct Hand<'a> {
    kubernetes: &'a Kubernetes,
    budget: &'a Budget,
    look: &'a Look,
    acted: Acted,
}

impl Hand<'_> {
    async fn take(&mut self, step: &Step) -> Result<(), Failure> {
        if step.is_disruptive() && self.world().resource.deleting_since.is_none() {
            self.budget.spend(&self.look.key, Instant::now()).map_err(|exhausted| Failure {
                kind: FailureKind::Unavailable,
                message: exhausted.to_string(),
            })?;
        }
        match step {
            Step::AddFinalizer => self.set_finalizer(true).await,
            Step::ReleaseFinalizer => self.set_finalizer(false).await,
            Step::RecordBootstrap(_) | Step::RecordClusterId(_) => self.record(step).await,
            Step::Create(object) => self.create(object).await,
            Step::Apply { object, uid } => self.apply(object, uid).await,
            Step::Prune { key, uid } => self.delete(key.kind, &key.name, uid).await,
            Step::MarkVolume { name, uid, marks } => {
                let annotations = build::marks_to_annotations(marks);
                let patch = json!({ "metadata": { "uid": uid, "annotations": annotations } });
                let place = self.place(Kind::PersistentVolumeClaim, name);
                self.patch(place, Change::Merge(&patch)).await
            }
            Step::SetStoreUp { pod, uid, up } => {
                let patch = mark::store_up(self.world(), pod, uid, *up);
                self.patch(self.place(Kind::Pod, pod), Change::StrategicStatus(&patch)).await
            }
            Step::DeletePod { name, uid, reason: _ } => self.delete(Kind::Pod, name, uid).await,
            Step::DeleteVolume { name, uid } => {
                self.delete(Kind::PersistentVolumeClaim, name, uid).await
            }
            Step::Mark { .. }
            | Step::ResizeVolume { .. }
            | Step::EvictLeaders { .. }
            | Step::StopEvicting { .. }
            | Step::OfflineStore { .. }
            | Step::KeepStore { .. }
            | Step::TransferPdLeader { .. }
            | Step::RemovePdMember { .. }
            | Step::SetPdConfig { .. }
            | Step::SetStoreConfig { .. }
            | Step::SetStoreLabels { .. }
            | Step::LockMaintenance { .. }
            | Step::UnlockMaintenance { .. } => Err(Failure {
                kind: FailureKind::Unavailable,
                message: format!("{} is not wired yet", step.name()),
            }),
        }
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

    /// The resource as it is after what was written to it in this pass.
    fn newest(&self) -> &Value {
        self.acted.resource.as_ref().unwrap_or(&self.look.resource)
    }

    fn version(&self) -> &Value {
        self.newest().pointer("/metadata/resourceVersion").unwrap_or(&Value::Null)
    }

    async fn patch(&self, place: Place<'_>, change: Change<'_>) -> Result<(), Failure> {
        let patched = self.kubernetes.patch(place, change).await;
        patched.map(drop).map_err(|error| error.failure())
    }

    async fn delete(&self, kind: Kind, name: &str, uid: &Uid) -> Result<(), Failure> {
        let deleted = self.kubernetes.delete(self.place(kind, name), uid).await;
        deleted.map_err(|error| error.failure())
    }

    /// The version that the list of finalizers was read at guards those of others.
    async fn set_finalizer(&mut self, wanted: bool) -> Result<(), Failure> {
        let present = self.newest().pointer("/metadata/finalizers").and_then(Value::as_array);
        let mut finalizers: Vec<Value> = present.cloned().unwrap_or_default();
        finalizers.retain(|name| name != FINALIZER);
        if wanted {
            finalizers.push(json!(FINALIZER));
        }
        let patch = json!({ "metadata": {
            "uid": self.world().resource.uid,
            "resourceVersion": self.version(),
            "finalizers": finalizers,
        } });
        self.keep(self.kubernetes.patch(self.resource(), Change::Merge(&patch)).await)
    }

    /// Writes the whole status with the record in it, at the version that the decision was made
    /// at: two decisions never both succeed.
    async fn record(&mut self, step: &Step) -> Result<(), Failure> {
        let Some(status) = report::with_record(self.world(), step) else { return Ok(()) };
        let body = status_body(&self.look.key, &self.world().resource.uid, self.version(), &status);
        self.keep(self.kubernetes.patch(self.resource(), Change::ApplyStatus(&body)).await)
    }

    fn keep(&mut self, written: Result<Value, ApiError>) -> Result<(), Failure> {
        self.acted.resource = Some(written.map_err(|error| error.failure())?);
        Ok(())
    }

    async fn apply(&self, object: &Object, uid: &Uid) -> Result<(), Failure> {
        let mut body = object.body.clone();
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("uid".to_owned(), json!(uid));
        }
        let place = self.place(object.key.kind, &object.key.name);
        migrate::apply(self.kubernetes, place, &body).await.map_err(|error| error.failure())
    }
}

/// The body of a status write: exactly this incarnation of the resource, at exactly this version.
pub fn status_body(
    key: &Key,
    uid: &Uid,
    version: &Value,
    status: &tikv_operator_api::TikvClusterStatus,
) -> Value {
    json!({
        "apiVersion": Resource::Cluster.api_version(),
        "kind": Resource::Cluster.kind(),
        "metadata": {
            "name": key.name, "namespace": key.namespace,
            "uid": uid, "resourceVersion": version,
        },
        "status": status,
    })
}

fn log(step: &Step, failure: Option<&Failure>) {
    let (step, subject) = (step.name(), step.subject());
    match failure {
        None => tracing::info!(step, subject, "done"),
        Some(failure) => tracing::warn!(step, subject, failure = %failure.message, "not done"),
    }
}
