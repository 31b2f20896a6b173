//! What does the API server make of a patch?

use serde_json::{Value, json};

use super::json::{at, same, set, text};
use super::{Key, Kube, Object, Refusal, Subresource, merge};
use crate::beliefs;

impl Kube {
    /// JSON merge patch of an object, its status apart. A uid in it makes it refuse another object of
    /// the same name, a version any other version ([`beliefs::PATCH_WITH_UID`]).
    pub fn merge(&mut self, key: &Key, wanted: &Value) -> Result<(), Refusal> {
        let mut wanted = wanted.clone();
        if let Some(wanted) = wanted.as_object_mut() {
            wanted.shift_remove("status");
        }
        self.change(key, &wanted, Subresource::Main, |object| merge::patch(object, &wanted))
    }

    /// Strategic merge patch of the status: conditions merge by type.
    pub fn merge_status(&mut self, key: &Key, wanted: &Value) -> Result<(), Refusal> {
        let status = json!({"status": at(wanted, "/status")});
        self.change(key, wanted, Subresource::Status, |object| merge::apply(object, &status))
    }

    fn change(
        &mut self,
        key: &Key,
        wanted: &Value,
        part: Subresource,
        change: impl FnOnce(&mut Value),
    ) -> Result<(), Refusal> {
        let current = self.shared(key).ok_or_else(|| Refusal::not_found(key))?;
        is_version(key, &current, wanted)?;
        is_incarnation(key, &current, wanted)?;
        let mut object = current.body().clone();
        change(&mut object);
        self.write(key, &current, object, part)
    }

    /// Puts a changed object in the place of the present one, if it may be changed so.
    pub(super) fn write(
        &mut self,
        key: &Key,
        current: &Object,
        mut object: Value,
        part: Subresource,
    ) -> Result<(), Refusal> {
        if part == Subresource::Main {
            self.admit(key)?;
            self.mutate(key, &mut object);
            for marks in ["labels", "annotations"] {
                drop_empty(&mut object, marks);
            }
            check_metadata(key, current, &object)?;
            if at(&object, "/spec") != at(current, "/spec") {
                self.check_spec(key, current, &object)?;
                grow_generation(&mut object);
            }
        }
        if same(&object, current.body()) {
            return Ok(());
        }
        self.put(key.clone(), object);
        self.let_go(key);
        Ok(())
    }

    fn check_spec(&self, key: &Key, current: &Object, object: &Value) -> Result<(), Refusal> {
        if beliefs::POD_SPEC_IS_IMMUTABLE.value.contains(&key.kind.as_str()) {
            return Err(Refusal::invalid("spec", format!("{key}: spec is immutable")));
        }
        if key.kind == "PersistentVolumeClaim" {
            self.check_growth(key, current, object)
        } else {
            Ok(())
        }
    }

    /// An object in deletion is gone with its last finalizer; a bound pod when its kubelet says so.
    fn let_go(&mut self, key: &Key) {
        let Some(object) = self.find(&key.kind, &key.name) else { return };
        let runs = key.kind == "Pod" && !object.node().is_empty();
        if object.is_deleting() && !object.is_held() && !runs {
            self.remove(key);
        }
    }
}

/// An empty map is not stored.
fn drop_empty(object: &mut Value, marks: &str) {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let Some(metadata) = metadata else { return };
    let is_empty = |marks: &Value| marks.as_object().is_some_and(serde_json::Map::is_empty);
    if metadata.get(marks).is_some_and(is_empty) {
        metadata.shift_remove(marks);
    }
}

/// What is refused of owners and finalizers ([`beliefs::ONE_CONTROLLER`], [`beliefs::LAST_FINALIZER`]).
fn check_metadata(key: &Key, current: &Object, object: &Value) -> Result<(), Refusal> {
    check_owners(key, object)?;
    let had = finalizers(current);
    if current.is_deleting() && finalizers(object).any(|new| !had.clone().any(|old| old == new)) {
        let words = format!("{key}: no new finalizers can be added if the object is being deleted");
        return Err(Refusal::invalid("metadata.finalizers", words));
    }
    Ok(())
}

fn finalizers(object: &Value) -> impl Iterator<Item = &Value> + Clone {
    at(object, "/metadata/finalizers").as_array().into_iter().flatten()
}

/// See [`beliefs::ONE_CONTROLLER`].
pub(super) fn check_owners(key: &Key, object: &Value) -> Result<(), Refusal> {
    let owners = at(object, "/metadata/ownerReferences").as_array().into_iter().flatten();
    if owners.filter(|owner| at(owner, "/controller") == true).count() > 1 {
        let words = format!("{key}: only one reference can have controller set to true");
        return Err(Refusal::invalid("metadata.ownerReferences", words));
    }
    Ok(())
}

/// The version in what is wanted is that of the object, where one is given.
pub(super) fn is_version(key: &Key, current: &Object, wanted: &Value) -> Result<(), Refusal> {
    let version = text(wanted, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(current, "/metadata/resourceVersion") {
        return Err(Refusal::conflict(format!("{key}: the object has been modified")));
    }
    Ok(())
}

/// The uid in what is wanted is that of the object, where one is given.
pub(super) fn is_incarnation(key: &Key, current: &Object, wanted: &Value) -> Result<(), Refusal> {
    let uid = text(wanted, "/metadata/uid");
    if !uid.is_empty() && uid != current.uid() {
        return Err(Refusal::invalid("metadata.uid", format!("{key}: metadata.uid is immutable")));
    }
    Ok(())
}

pub(super) fn grow_generation(object: &mut Value) {
    if let Some(generation) = at(object, "/metadata/generation").as_i64() {
        set(object, &["metadata", "generation"], json!(generation + 1));
    }
}
