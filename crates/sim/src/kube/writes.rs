//! How are objects created, applied and deleted?

use std::sync::Arc;

use serde_json::{Value, json};

use super::json::{at, set, text};
use super::patches::{check_owners, grow_generation, is_incarnation, is_version};
use super::sweep::{CLAIM_PROTECTION, set_finalizer};
use super::{Key, Kube, Object, Reason, Refusal, merge};
use crate::beliefs;
use crate::clock;

/// What a write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// POST.
    Create,
    /// Server-side apply.
    Apply,
    /// Server-side apply to the status subresource.
    ApplyStatus,
    /// DELETE.
    Delete,
    /// A call to PD or to a store, not to the API server.
    Call,
}

impl Verb {
    /// As audit logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Apply => "apply",
            Self::ApplyStatus => "apply status",
            Self::Delete => "delete",
            Self::Call => "call",
        }
    }
}

/// Which part of an object an apply may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subresource {
    /// Everything but `status`.
    Main,
    /// `status` only.
    Status,
}

impl Kube {
    /// A create that is only tried. Webhooks are asked before it is found out that the name is taken.
    pub fn try_create(&self, object: &Value) -> Result<(), Refusal> {
        let key = Key::of(object);
        self.admit(&key)?;
        self.is_free(&key)
    }

    fn is_free(&self, key: &Key) -> Result<(), Refusal> {
        if self.find(&key.kind, &key.name).is_some() {
            let words = format!("{key} already exists");
            return Err(Refusal::new(409, Reason::AlreadyExists, words));
        }
        Ok(())
    }

    /// POST: the object must not exist. Gives it its uid.
    pub fn create(&mut self, mut object: Value) -> Result<Arc<Object>, Refusal> {
        let key = Key::of(&object);
        self.is_free(&key)?;
        let full = self.quota.is_some_and(|most| self.list("Pod").count() >= most);
        if key.kind == "Pod" && full {
            return Err(Refusal::forbidden(format!("{key} is forbidden: exceeded quota")));
        }
        self.admit(&key)?;
        self.mutate(&key, &mut object);
        check_owners(&key, &object)?;
        if key.kind == "PersistentVolumeClaim" {
            set_finalizer(&mut object, CLAIM_PROTECTION, true);
        }
        self.uids += 1;
        let uid = format!("uid-{:04}", self.uids);
        set(&mut object, &["metadata", "uid"], json!(uid));
        set(&mut object, &["metadata", "creationTimestamp"], json!(clock::rfc3339(self.now)));
        if beliefs::has_generation(&key.kind) {
            set(&mut object, &["metadata", "generation"], json!(1));
        }
        self.put(key.clone(), object);
        self.shared(&key).ok_or_else(|| Refusal::new(500, Reason::None, "lost"))
    }

    /// Server-side apply with force. `metadata.uid` in the body makes it refuse to create the
    /// object ([`beliefs::APPLY_WITH_UID`]) and to touch another one of the same name; of the status
    /// only the version does ([`beliefs::STATUS_HAS_NO_UID`]). What was applied before and is left out
    /// now goes.
    pub fn apply(&mut self, body: Value, part: Subresource) -> Result<(), Refusal> {
        let key = Key::of(&body);
        let Some(current) = self.shared(&key) else {
            let words = format!("{key}: uid given, but there is no such object");
            return Err(match part {
                Subresource::Main => Refusal::conflict(words),
                Subresource::Status => Refusal::not_found(&key),
            });
        };
        is_version(&key, &current, &body)?;
        if part == Subresource::Main {
            is_incarnation(&key, &current, &body)?;
        }
        let wanted = part_of(body, part);
        let mut object = current.body().clone();
        let applied = (current.uid().to_owned(), part);
        if let Some(before) = self.applied.get(&applied) {
            merge::take_away(&mut object, before, &wanted);
        }
        merge::apply(&mut object, &wanted);
        self.write(&key, &current, object, part)?;
        self.applied.insert(applied, wanted);
        Ok(())
    }

    /// What admission makes of an object before it is stored.
    pub(super) fn mutate(&self, key: &Key, object: &mut Value) {
        for (_, place, value) in self.webhooks.iter().filter(|(kind, _, _)| *kind == key.kind) {
            let path: Vec<String> =
                place.split('/').skip(1).map(|part| part.replace("~1", "/")).collect();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match object.pointer_mut(place) {
                Some(found) => found.clone_from(value),
                None => set(object, &path, value.clone()),
            }
        }
    }

    /// A user's edit of the spec: any change, no manager.
    pub fn edit_spec(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> bool {
        self.edit(key, |object| {
            let before = at(object, "/spec").clone();
            change(object);
            if *at(object, "/spec") != before {
                grow_generation(object);
            }
        })
    }

    /// DELETE, with the uid as precondition where one is given. What happens next depends on
    /// finalizers and on the kind ([`beliefs::POD_DELETION_IS_GRACEFUL`]).
    pub fn delete(&mut self, key: &Key, uid: Option<&str>) -> Result<(), Refusal> {
        self.delete_version(key, uid, None)
    }

    /// As [`Kube::delete`], and with the version as precondition where one is given.
    pub fn delete_version(
        &mut self,
        key: &Key,
        uid: Option<&str>,
        version: Option<&str>,
    ) -> Result<(), Refusal> {
        let Some(current) = self.find(&key.kind, &key.name) else {
            return Err(Refusal::not_found(key));
        };
        if uid.is_some_and(|uid| uid != current.uid()) {
            return Err(Refusal::conflict(format!("{key}: uid precondition failed")));
        }
        if version.is_some_and(|version| version != text(current, "/metadata/resourceVersion")) {
            return Err(Refusal::conflict(format!("{key}: resourceVersion precondition failed")));
        }
        if current.is_deleting() {
            return Ok(());
        }
        let bound = !current.node().is_empty();
        let waits = current.is_held() || (key.kind == "Pod" && bound);
        if !waits {
            self.remove(key);
            return Ok(());
        }
        let now = clock::rfc3339(self.now);
        self.edit(key, |object| {
            set(object, &["metadata", "deletionTimestamp"], json!(now));
            if beliefs::has_generation(&key.kind) {
                grow_generation(object);
            }
        });
        Ok(())
    }

    /// Takes an object away at once: kubelet confirming that a pod ended, or a force deletion.
    pub fn vanish(&mut self, key: &Key) {
        self.remove(key);
    }
}

/// The part of an applied body that the request may change.
fn part_of(body: Value, part: Subresource) -> Value {
    let Value::Object(mut body) = body else { return json!({}) };
    match part {
        Subresource::Status => {
            let status = body.remove("status");
            Value::Object(status.map(|status| ("status".to_owned(), status)).into_iter().collect())
        }
        Subresource::Main => {
            body.shift_remove("status");
            if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("uid");
                metadata.remove("resourceVersion");
            }
            Value::Object(body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(port: u32) -> Value {
        json!({"kind": "Service", "metadata": {"name": "s"}, "spec": {"port": port}})
    }

    fn with_uid(mut body: Value, uid: &str) -> Value {
        set(&mut body, &["metadata", "uid"], json!(uid));
        body
    }

    #[test]
    fn a_create_never_touches_what_is_there() {
        let mut kube = Kube::default();
        kube.create(service(1)).unwrap();
        assert_eq!(kube.create(service(2)).unwrap_err().code, 409);
        assert_eq!(at(kube.get("Service", "s").unwrap(), "/spec/port"), &json!(1));
    }

    #[test]
    fn an_apply_with_uid_neither_creates_nor_touches_another_incarnation() {
        let mut kube = Kube::default();
        let body = with_uid(service(1), "uid-0001");
        assert_eq!(kube.apply(body.clone(), Subresource::Main).unwrap_err().code, 409);
        kube.create(service(1)).unwrap();
        assert!(kube.apply(body.clone(), Subresource::Main).is_ok());
        kube.delete(&Key::new("Service", "s"), Some("uid-0001")).unwrap();
        kube.create(service(3)).unwrap();
        assert_eq!(kube.apply(body, Subresource::Main).unwrap_err().code, 422);
    }

    #[test]
    fn an_apply_that_changes_nothing_is_no_change() {
        let mut kube = Kube::default();
        kube.create(service(1)).unwrap();
        let version = kube.version();
        kube.apply(with_uid(service(1), "uid-0001"), Subresource::Main).unwrap();
        assert_eq!(kube.version(), version);
    }

    #[test]
    fn a_delete_with_another_uid_is_refused() {
        let mut kube = Kube::default();
        kube.create(service(1)).unwrap();
        let key = Key::new("Service", "s");
        assert_eq!(kube.delete(&key, Some("uid-0009")).unwrap_err().code, 409);
        assert!(kube.delete(&key, Some("uid-0001")).is_ok());
        assert!(kube.get("Service", "s").is_none());
    }

    #[test]
    fn a_pods_spec_cannot_be_applied_away() {
        let mut kube = Kube::default();
        let pod = |image: &str| json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"image": image}});
        kube.create(pod("a")).unwrap();
        assert_eq!(kube.apply(pod("b"), Subresource::Main).unwrap_err().code, 422);
    }
}
