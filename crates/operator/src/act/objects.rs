//! How are steps on objects of the API server done?
//!
//! Each call names the object by its uid, so that another object of the same name is refused by the
//! server.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tikv_operator_api::TikvClusterStatus;
use tikv_operator_core::{
    build,
    plan::Step,
    report::{self, Failure, FailureKind},
    world::{Kind, Object, ObjectKey, Uid},
};

use super::{FINALIZER, Hand, mark, migrate};
use crate::{
    controller::Key,
    kubernetes::{ApiError, Change, Place, Resource},
};

/// Who changes conditions all the time wins every race against a pass, and not all of these.
const RECORD_TRIES: u32 = 10;

/// What is written on an object: `None` takes a key away.
type Marks = BTreeMap<String, Option<String>>;

impl Hand<'_> {
    pub(super) async fn take_object(&mut self, step: &Step) -> Result<(), Failure> {
        match step {
            Step::AddFinalizer => self.set_finalizer(true).await,
            Step::ReleaseFinalizer => self.set_finalizer(false).await,
            Step::RecordBootstrap(_) | Step::RecordClusterId(_) => self.record(step).await,
            Step::Create(object) => self.create(object).await,
            Step::TryPod { pod, .. } => self.try_pod(pod).await,
            Step::Apply { object, uid } => self.apply(object, uid).await,
            Step::Prune { key, uid } => self.delete(key.kind, &key.name, uid, None).await,
            Step::MarkVolume { name, uid, marks } => {
                let annotations = build::marks_to_annotations(marks);
                let patch = json!({ "metadata": { "uid": uid, "annotations": annotations } });
                let place = self.place(Kind::PersistentVolumeClaim, name);
                self.patch(place, Change::Merge(&patch)).await
            }
            Step::Mark { key, uid, annotations, labels } => {
                self.write_marks(key, uid, annotations, labels).await
            }
            Step::ResizeVolume { name, uid, size } => {
                let resources = json!({ "requests": { "storage": size } });
                let patch =
                    json!({ "metadata": { "uid": uid }, "spec": { "resources": resources } });
                let place = self.place(Kind::PersistentVolumeClaim, name);
                self.patch(place, Change::Merge(&patch)).await
            }
            Step::SetStoreUp { pod, uid, up } => {
                let patch = mark::store_up(self.world(), pod, uid, *up);
                self.patch(self.place(Kind::Pod, pod), Change::StrategicStatus(&patch)).await
            }
            Step::DeletePod { name, uid, reason: _ } => {
                self.delete(Kind::Pod, name, uid, None).await
            }
            Step::DeleteVolume { name, uid, version } => {
                self.delete(Kind::PersistentVolumeClaim, name, uid, Some(version)).await
            }
            Step::EvictLeaders { .. }
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
                kind: FailureKind::Refused,
                message: format!("{} is no step on an object", step.name()),
            }),
        }
    }

    /// In a merge patch `null` takes a key away, and one that is absent already is no error.
    async fn write_marks(
        &self,
        key: &ObjectKey,
        uid: &Uid,
        annotations: &Marks,
        labels: &Marks,
    ) -> Result<(), Failure> {
        let mut metadata = json!({ "uid": uid });
        for (field, marks) in [("annotations", annotations), ("labels", labels)] {
            if let (Some(metadata), false) = (metadata.as_object_mut(), marks.is_empty()) {
                metadata.insert(field.to_owned(), json!(marks));
            }
        }
        let patch = json!({ "metadata": metadata });
        self.patch(self.place(key.kind, &key.name), Change::Merge(&patch)).await
    }

    /// The resource as it is after what was written to it in this pass.
    fn newest(&self) -> &Value {
        self.acted.resource.as_ref().unwrap_or(&self.look.resource)
    }

    fn version(&self) -> &Value {
        self.newest().pointer("/metadata/resourceVersion").unwrap_or(&Value::Null)
    }

    pub(super) async fn patch(&self, place: Place<'_>, change: Change<'_>) -> Result<(), Failure> {
        let patched = self.kubernetes().patch(place, change).await;
        patched.map(drop).map_err(|error| error.failure())
    }

    async fn delete(
        &self,
        kind: Kind,
        name: &str,
        uid: &Uid,
        version: Option<&str>,
    ) -> Result<(), Failure> {
        let deleted = self.kubernetes().delete(self.place(kind, name), uid, version).await;
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
        self.keep(self.kubernetes().patch(self.resource(), Change::Merge(&patch)).await)
    }

    /// Writes the whole status with the record in it, at the version that the decision was made
    /// at: two decisions never both succeed. A version at which others have changed nothing but
    /// conditions is as good.
    async fn record(&mut self, step: &Step) -> Result<(), Failure> {
        let Some(status) = report::with_record(self.world(), step) else { return Ok(()) };
        let mut version = self.version().clone();
        for _ in 1..RECORD_TRIES {
            let written = self.write_status(&version, &status).await;
            let raced = written.as_ref().is_err_and(|error| error.code() == Some(409));
            if !raced {
                return self.keep(written);
            }
            version = self.version_as_decided().await?;
        }
        self.keep(self.write_status(&version, &status).await)
    }

    async fn write_status(
        &self,
        version: &Value,
        status: &TikvClusterStatus,
    ) -> Result<Value, ApiError> {
        let body = status_body(&self.look.key, &self.world().resource.uid, version, status);
        self.kubernetes().patch(self.resource(), Change::ApplyStatus(&body)).await
    }

    /// The version of the resource now, if it is what was decided on but for conditions.
    async fn version_as_decided(&self) -> Result<Value, Failure> {
        let now = self.kubernetes().get(self.resource()).await.map_err(|error| error.failure())?;
        let now = now.filter(|now| decided_on(now) == decided_on(self.newest()));
        let version = now.and_then(|now| now.pointer("/metadata/resourceVersion").cloned());
        version.ok_or_else(|| Failure {
            kind: FailureKind::Stale,
            message: format!("{} has changed since it was looked at", self.look.key.name),
        })
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
        migrate::apply(self.kubernetes(), place, &body).await.map_err(|error| error.failure())
    }
}

/// What a decision is made on: all but what each write changes, and conditions, which are words.
fn decided_on(resource: &Value) -> Value {
    let mut resource = resource.clone();
    for (part, fields) in
        [("/metadata", &["resourceVersion", "managedFields"][..]), ("/status", &["conditions"])]
    {
        if let Some(part) = resource.pointer_mut(part).and_then(Value::as_object_mut) {
            for field in fields {
                part.remove(*field);
            }
        }
    }
    let of = |part| resource.get(part).cloned().unwrap_or_else(|| json!({}));
    json!([of("metadata"), of("spec"), of("status")])
}

/// The body of a status write: exactly this incarnation of the resource, at exactly this version.
pub fn status_body(key: &Key, uid: &Uid, version: &Value, status: &TikvClusterStatus) -> Value {
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
