//! What if an object of the name exists already?
//!
//! A create never adopts. When the name is taken, the object is read to see whose it is: ours (a
//! create whose answer was lost, or one whose labels somebody took off) or a stranger's, which is
//! named and left alone.

use serde_json::{Value, json};
use tikv_operator_api::labels;
use tikv_operator_core::{
    build::marks_from_annotations,
    facts::{Owner, owner_words, volume_facts},
    report::{Failure, FailureKind},
    world::{Kind, Object, PdView},
};

use super::Hand;
use crate::kubernetes::{Change, UnknownFields};

impl Hand<'_> {
    pub(super) async fn create(&mut self, object: &Object) -> Result<(), Failure> {
        let place = self.place(object.key.kind, &object.key.name);
        match self.kubernetes().create(place, &object.body, self.unknown_fields()).await {
            Ok(_) => Ok(()),
            Err(error) if error.already_exists() => self.look_whose(object).await,
            Err(error) => {
                self.acted.namespace_is_going = error.namespace_is_going();
                Err(error.failure())
            }
        }
    }

    /// Shows the API server a pod. One of its name may stand: that is found out last, after the pod
    /// was looked at. Nor do two of its answers say anything about the pod: a quota that the present
    /// pod uses up, and a webhook that cannot be asked in a dry run.
    pub(super) async fn try_pod(&self, pod: &Object) -> Result<(), Failure> {
        let place = self.place(pod.key.kind, &pod.key.name);
        match self.kubernetes().try_create(place, &pod.body).await {
            Ok(()) => Ok(()),
            Err(error) if error.already_exists() || error.says_nothing_of_the_object() => Ok(()),
            Err(error) => Err(error.failure()),
        }
    }

    /// A field that the API server does not know is refused as long as there is no data: whoever
    /// mistyped it learns of it at once. Later a pod must come back, whatever else is in its spec.
    fn unknown_fields(&self) -> UnknownFields {
        let world = self.world();
        let empty = match &world.pd {
            PdView::Known(pd) => !pd.bootstrapped,
            PdView::NotCreated | PdView::Unreachable { .. } => {
                world.resource.status.cluster_id.is_none()
            }
        };
        if empty { UnknownFields::Refused } else { UnknownFields::Dropped }
    }

    async fn look_whose(&mut self, object: &Object) -> Result<(), Failure> {
        let place = self.place(object.key.kind, &object.key.name);
        let found = self.kubernetes().get(place).await.map_err(|error| error.failure())?;
        let Some(found) = found else {
            return Err(Failure {
                kind: FailureKind::Stale,
                message: format!("{} existed a moment ago and is gone", object.key),
            });
        };
        if !self.is_ours(object.key.kind, &found) {
            let whose = owner_words(&found);
            let message =
                format!("{} exists and is not ours ({whose}); it is left alone", object.key);
            self.acted.strangers.push((object.key.clone(), whose));
            return Err(Failure { kind: FailureKind::Foreign, message });
        }
        match stripped(&object.body, &found) {
            None => Ok(()),
            Some(patch) => self.patch(place, Change::Merge(&patch)).await,
        }
    }

    /// Pods and furniture name their controller. A volume has none: it is ours by all its labels
    /// and its name, or by the uid that we wrote on it.
    fn is_ours(&self, kind: Kind, found: &Value) -> bool {
        let resource = &self.world().resource;
        match kind {
            Kind::PersistentVolumeClaim => {
                let annotations = found.pointer("/metadata/annotations").cloned();
                let annotations = annotations.and_then(|map| serde_json::from_value(map).ok());
                let marks = marks_from_annotations(&annotations.unwrap_or_default());
                volume_facts(&resource.name, found).is_some()
                    || marks.resource.as_ref() == Some(&resource.uid)
            }
            Kind::Pod | Kind::Service | Kind::ConfigMap | Kind::PodDisruptionBudget => {
                Owner { name: &resource.name, uid: &resource.uid }.controls(found)
            }
        }
    }
}

/// The patch that puts back the labels by which we find our objects, where some are gone.
fn stripped(wanted: &Value, found: &Value) -> Option<Value> {
    let wanted = wanted.pointer("/metadata/labels")?.as_object()?;
    let found_labels = found.pointer("/metadata/labels");
    let complete = [labels::CLUSTER, labels::MANAGED_BY]
        .iter()
        .all(|key| wanted.get(*key) == found_labels.and_then(|labels| labels.get(*key)));
    let uid = found.pointer("/metadata/uid");
    (!complete).then(|| json!({ "metadata": { "uid": uid, "labels": wanted } }))
}
