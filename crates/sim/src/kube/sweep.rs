//! What do Kubernetes' own controllers clean up?

use super::{Key, Kube, Object};

impl Kube {
    /// One round of the garbage collector, of finalizer removal and of claim protection. Returns
    /// the uids of volume claims that are gone for good.
    pub fn sweep(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        if self.swept == self.version() {
            return gone;
        }
        self.swept = self.version();
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
        let done = self.all().filter(|(kind, name, object)| {
            object.is_deleting()
                && !object.is_held()
                && *kind != "Pod"
                && !(*kind == "PersistentVolumeClaim" && self.is_mounted(name))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
