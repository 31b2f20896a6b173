//! What do Kubernetes' own controllers clean up?

use serde_json::{Value, json};

use super::{Key, Kube, Object, at, set, text};

/// Finalizer of an owner that goes after what it owns ([`crate::beliefs::DELETION_PROPAGATES`]).
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner whose children are to stay.
const ORPHAN: &str = "orphan";
/// Finalizer that every claim is made with ([`crate::beliefs::CLAIM_PROTECTION`]).
pub(super) const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Kinds that own others here: our resource, and what an earlier operator had in its place.
const OWNERS: [&str; 3] = ["TikvCluster", "TidbCluster", "StatefulSet"];

/// What becomes of what a deleted object owns, where it does not just go after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// It goes before its owner.
    Foreground,
    /// It stays, without an owner.
    Orphan,
}

impl Kube {
    /// DELETE of an owner.
    pub fn delete_owner(&mut self, key: &Key, propagation: Propagation) {
        let finalizer = match propagation {
            Propagation::Foreground => FOREGROUND,
            Propagation::Orphan => ORPHAN,
        };
        self.edit(key, |owner| set_finalizer(owner, finalizer, true));
        let _ = self.delete(key, None);
    }

    /// What the garbage collector does for owners that wait for it.
    fn propagate(&mut self) {
        let owners = OWNERS.into_iter().flat_map(|kind| self.list(kind));
        let going = owners.filter(|owner| owner.is_deleting());
        let held: Vec<(Key, String, Propagation)> = going
            .filter_map(|owner| {
                let propagation = if has_finalizer(owner, FOREGROUND) {
                    Propagation::Foreground
                } else if has_finalizer(owner, ORPHAN) {
                    Propagation::Orphan
                } else {
                    return None;
                };
                Some((Key::of(owner), owner.uid().to_owned(), propagation))
            })
            .collect();
        for (key, uid, propagation) in held {
            let owned = self.all().filter(|(_, _, object)| object.owners().contains(&uid));
            let owned: Vec<Key> = owned.map(|(kind, name, _)| Key::new(kind, name)).collect();
            for child in &owned {
                if propagation == Propagation::Orphan {
                    self.edit(child, |child| disown(child, &uid));
                } else {
                    let _ = self.delete(child, None);
                }
            }
            if propagation == Propagation::Orphan || owned.is_empty() {
                self.edit(&key, |owner| {
                    set_finalizer(owner, FOREGROUND, false);
                    set_finalizer(owner, ORPHAN, false);
                });
            }
        }
    }

    /// One round of the garbage collector, of finalizer removal and of claim protection. Returns
    /// the uids of volume claims that are gone for good.
    pub fn sweep(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        if self.swept == self.version() {
            return gone;
        }
        self.swept = self.version();
        self.propagate();
        for (key, uid) in self.finished() {
            if key.kind == "PersistentVolumeClaim" {
                gone.push(uid);
            }
            self.remove(&key);
        }
        for key in self.orphans() {
            // The collector deletes as anybody would: grace and finalizers hold.
            let _ = self.delete(&key, None);
        }
        gone
    }

    /// Objects in deletion that nothing holds any more. Pods go when kubelet says so.
    fn finished(&self) -> Vec<(Key, String)> {
        let held = |kind: &str, name: &str, object: &Object| match kind {
            "PersistentVolumeClaim" => {
                let others = holders(object).into_iter().any(|holder| holder != CLAIM_PROTECTION);
                others || self.is_mounted(name)
            }
            _ => object.is_held(),
        };
        let done = self.all().filter(|(kind, name, object)| {
            object.is_deleting() && *kind != "Pod" && !held(kind, name, object)
        });
        done.map(|(kind, name, object)| (Key::new(kind, name), object.uid().to_owned())).collect()
    }

    /// Some pod names the claim ([`crate::beliefs::CLAIM_PROTECTION`]).
    fn is_mounted(&self, claim: &str) -> bool {
        self.list("Pod").any(|pod| pod.claims().iter().any(|name| name == claim))
    }

    /// Objects all of whose owners are gone.
    fn orphans(&self) -> Vec<Key> {
        let owned = || self.all().filter(|(_, _, object)| !object.owners().is_empty());
        // Resources own everything, and there are few of them.
        let exists = |uid: &String| {
            self.list("TikvCluster").any(|resource| resource.uid() == uid)
                || self.all().any(|(_, _, object)| object.uid() == uid)
        };
        let is_orphan =
            |object: &Object| !object.is_deleting() && !object.owners().iter().any(exists);
        let orphans = owned().filter(|(_, _, object)| is_orphan(object));
        orphans.map(|(kind, name, _)| Key::new(kind, name)).collect()
    }
}

/// A finalizer is put on an object, or taken off; those of others stay.
pub fn set_finalizer(object: &mut Value, name: &str, on: bool) {
    let mut all = at(object, "/metadata/finalizers").as_array().cloned().unwrap_or_default();
    all.retain(|finalizer| finalizer != name);
    if on {
        all.push(json!(name));
    }
    set(object, &["metadata", "finalizers"], Value::Array(all));
}

/// Its finalizers.
fn holders(object: &Object) -> Vec<&str> {
    let all = at(object, "/metadata/finalizers").as_array();
    all.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn has_finalizer(object: &Object, name: &str) -> bool {
    holders(object).contains(&name)
}

fn disown(object: &mut Value, uid: &str) {
    let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
    if let Some(owners) = owners {
        owners.retain(|owner| text(owner, "/uid") != uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_owner_goes_after_its_children_or_leaves_them_as_it_was_asked() {
        for (propagation, children) in [(Propagation::Foreground, 0), (Propagation::Orphan, 1)] {
            let mut kube = Kube::default();
            let owner = json!({"kind": "TikvCluster", "metadata": {"name": "c"}});
            let reference = json!([{"uid": kube.create(owner).unwrap().uid()}]);
            let metadata = json!({"name": "p", "ownerReferences": reference});
            kube.create(json!({"kind": "Pod", "metadata": metadata})).unwrap();
            kube.delete_owner(&Key::new("TikvCluster", "c"), propagation);
            assert!(kube.get("TikvCluster", "c").is_some());
            (0..3).for_each(|_| drop(kube.sweep()));
            assert!(kube.get("TikvCluster", "c").is_none());
            assert_eq!(kube.list("Pod").count(), children, "{propagation:?}");
        }
    }

    #[test]
    fn children_follow_their_owner_and_claims_wait_for_pods() {
        let mut kube = Kube::default();
        let owner = kube.create(json!({"kind": "TikvCluster", "metadata": {"name": "c"}})).unwrap();
        let reference = json!([{"uid": owner.uid()}]);
        kube.create(json!({
            "kind": "Pod",
            "metadata": {"name": "p", "ownerReferences": reference},
            "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "v"}}]},
        }))
        .unwrap();
        let claim = Key::new("PersistentVolumeClaim", "v");
        kube.create(json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "v"}})).unwrap();
        kube.delete(&claim, None).unwrap();
        assert!(kube.sweep().is_empty(), "mounted");
        kube.delete(&Key::new("TikvCluster", "c"), None).unwrap();
        kube.sweep();
        assert!(kube.get("Pod", "p").is_none(), "never scheduled, so it goes at once");
        assert_eq!(kube.sweep().len(), 1);
        assert!(kube.get("PersistentVolumeClaim", "v").is_none());
    }
}
