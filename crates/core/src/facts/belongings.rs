//! Which of the objects that carry a cluster's labels are its own?
//!
//! Pods and furniture belong to the resource whose uid their controller owner reference names;
//! volumes have no owner and belong by labels and name. Whatever else bears the labels is a
//! stranger: named, never touched.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tikv_operator_api::names;

use super::text::{list, text};
use super::{object_facts, pod_facts, volume_facts};
use crate::world::{Kind, ObjectFacts, ObjectKey, PdView, PodFacts, Slot, Uid, VolumeFacts};

/// The resource whose belongings are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a Uid,
}

impl Owner<'_> {
    /// Is this resource the controller of the object?
    pub fn controls(&self, body: &Value) -> bool {
        controller(body).is_some_and(|owner| text(owner, "/uid") == Some(self.uid.0.as_str()))
    }
}

/// What belongs to one resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belongings {
    /// Its pods.
    pub pods: BTreeMap<Slot, PodFacts>,
    /// Its volume claims, by name.
    pub volumes: BTreeMap<String, VolumeFacts>,
    /// Its furniture.
    pub objects: BTreeMap<ObjectKey, ObjectFacts>,
    /// What has a name or labels of its own but is not: whose it is.
    pub strangers: BTreeMap<ObjectKey, String>,
}

impl Belongings {
    /// Sorts an object in, whether it is whole or trimmed.
    pub fn take(&mut self, owner: Owner<'_>, kind: Kind, body: &Value) {
        let Some(name) = text(body, "/metadata/name") else { return };
        let own = match kind {
            Kind::PersistentVolumeClaim => self.take_volume(owner, name, body),
            Kind::Pod => owner.controls(body) && self.take_pod(owner, name, body),
            Kind::Service | Kind::ConfigMap | Kind::PodDisruptionBudget => {
                owner.controls(body) && self.take_object(ObjectKey::new(kind, name), body)
            }
        };
        if !own {
            self.strangers.insert(ObjectKey::new(kind, name), owner_words(body));
        }
    }

    fn take_volume(&mut self, owner: Owner<'_>, name: &str, body: &Value) -> bool {
        let facts = volume_facts(owner.name, body);
        facts.map(|facts| self.volumes.insert(name.to_owned(), facts)).is_some()
    }

    fn take_pod(&mut self, owner: Owner<'_>, name: &str, body: &Value) -> bool {
        let facts = Slot::of_pod(owner.name, name)
            .and_then(|slot| Some((slot, pod_facts(slot.component, body)?)));
        facts.map(|(slot, facts)| self.pods.insert(slot, facts)).is_some()
    }

    fn take_object(&mut self, key: ObjectKey, body: &Value) -> bool {
        object_facts(body).map(|facts| self.objects.insert(key, facts)).is_some()
    }
}

/// Claims that a member must have and that are not among what was found by its labels: they are to
/// be read by their names before they count as gone, since anybody can take a label off.
pub fn missing_claims(cluster: &str, found: &Belongings, pd: &PdView) -> BTreeSet<String> {
    let known = |claim: &String| {
        let key = ObjectKey::new(Kind::PersistentVolumeClaim, claim.clone());
        found.volumes.contains_key(claim) || found.strangers.contains_key(&key)
    };
    let mut slots: BTreeSet<Slot> = found.pods.keys().copied().collect();
    if let PdView::Known(pd) = pd {
        let stores = pd.live_stores().filter_map(|store| store.address.split('.').next());
        let members = pd.members.values().map(|member| member.name.as_str());
        slots.extend(stores.chain(members).filter_map(|name| Slot::of_pod(cluster, name)));
    }
    let main = slots.into_iter().map(|slot| slot.claim_name(cluster));
    let extra = found.volumes.values().filter(|volume| !volume.marks.retired).flat_map(|volume| {
        let (component, ordinal) = (volume.slot.component, volume.slot.ordinal);
        let names = volume.marks.extra.iter().flatten();
        names.map(move |name| names::extra_volume(cluster, component, name, ordinal))
    });
    main.chain(extra).filter(|claim| !known(claim)).collect()
}

fn controller(body: &Value) -> Option<&Value> {
    list(body, "/metadata/ownerReferences")
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// Whose an object is, in words.
pub fn owner_words(body: &Value) -> String {
    match controller(body) {
        Some(owner) => format!(
            "controlled by {} {} (uid {})",
            text(owner, "/kind").unwrap_or("?"),
            text(owner, "/name").unwrap_or("?"),
            text(owner, "/uid").unwrap_or("?"),
        ),
        None => match text(body, "/metadata/labels/app.kubernetes.io~1managed-by") {
            Some(manager) => format!("without a controller, managed by {manager}"),
            None => "without a controller".to_owned(),
        },
    }
}
