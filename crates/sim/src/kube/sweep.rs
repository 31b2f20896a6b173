//! What do Kubernetes' own controllers clean up?

use serde_json::Value;

use super::json::{at, finalizers, is_deleting, owners, text, uid_of};
use super::{Key, Kube};

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
        let done = self.objects.iter().filter(|(key, object)| {
            is_deleting(object)
                && finalizers(object).is_empty()
                && key.kind != "Pod"
                && !(key.kind == "PersistentVolumeClaim" && self.is_mounted(&key.name))
        });
        done.map(|(key, object)| (key.clone(), uid_of(object).to_owned())).collect()
    }

    /// Some pod names the claim ([`crate::beliefs::CLAIM_PROTECTION`]).
    fn is_mounted(&self, claim: &str) -> bool {
        self.list("Pod").any(|pod| claims_of(pod).any(|name| name == claim))
    }

    /// Objects all of whose owners are gone.
    fn orphans(&self) -> Vec<Key> {
        let is_orphan = |object: &Value| {
            let owners = owners(object);
            !owners.is_empty() && owners.iter().all(|uid| self.by_uid(uid).is_none())
        };
        let orphans = self.objects.iter().filter(|(_, o)| !is_deleting(o) && is_orphan(o));
        orphans.map(|(key, _)| key.clone()).collect()
    }
}

/// The names of the claims that a pod mounts.
pub(crate) fn claims_of(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = at(pod, "/spec/volumes").as_array();
    volumes
        .into_iter()
        .flatten()
        .map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn children_follow_their_owner_and_claims_wait_for_pods() {
        let mut kube = Kube::default();
        let owner = kube.create(json!({"kind": "TikvCluster", "metadata": {"name": "c"}})).unwrap();
        let reference = json!([{"uid": uid_of(&owner)}]);
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
