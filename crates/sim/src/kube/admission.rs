//! What does the API server look at before it grants a request on a claim or an eviction?

use serde_json::{Value, json};
use tikv_operator_core::facts::bytes;

use super::json::{at, labels, set, text};
use super::{Key, Kube, Object, Refusal};

impl Kube {
    /// A larger request for a bound claim ([`crate::beliefs::CLAIMS_GROW`]).
    pub fn resize_claim(&mut self, key: &Key, uid: &str, size: &str) -> Result<(), Refusal> {
        let Some(claim) = self.get(&key.kind, &key.name).filter(|claim| claim.uid() == uid) else {
            return Err(Refusal::new(409, format!("{key}: uid precondition failed")));
        };
        let requested = text(claim, "/spec/resources/requests/storage");
        if bytes(size) < bytes(requested) {
            let words = "field can not be less than previous value";
            return Err(Refusal::new(422, format!("{key}: {words}")));
        }
        let class = text(claim, "/spec/storageClassName");
        if self.rigid_classes.contains(class) {
            let words = "only dynamically provisioned pvc can be resized and the storageclass that \
                         provisions the pvc must support resize";
            return Err(Refusal::new(403, format!("{key} is forbidden: {words}")));
        }
        if self.full_claims.contains(&key.name) {
            let words = "exceeded quota: storage";
            return Err(Refusal::new(403, format!("{key} is forbidden: {words}")));
        }
        self.admit(key)?;
        let size = json!(size);
        self.edit(key, |claim| set(claim, &["spec", "resources", "requests", "storage"], size));
        Ok(())
    }

    /// What webhooks say to a write of an object of this kind that is no deletion.
    pub fn admit(&self, key: &Key) -> Result<(), Refusal> {
        if self.denied.contains(&key.kind) {
            let words = "admission webhook \"policy.example.org\" denied the request";
            return Err(Refusal::new(403, format!("{key}: {words}")));
        }
        Ok(())
    }

    /// The eviction subresource: 429 while a budget does not allow it
    /// ([`crate::beliefs::EVICTION_ASKS_BUDGETS`]).
    pub fn evict(&mut self, pod: &str) -> Result<(), Refusal> {
        let key = Key::new("Pod", pod);
        let Some(body) = self.get("Pod", pod) else {
            return Err(Refusal::new(404, format!("{key} not found")));
        };
        if self.budgets_of(body).any(|budget| !self.allows(budget, body)) {
            let words = "Cannot evict pod as it would violate the pod's disruption budget.";
            return Err(Refusal::new(429, words));
        }
        self.delete(&key, None)
    }

    fn budgets_of<'a>(&'a self, pod: &'a Object) -> impl Iterator<Item = &'a Object> {
        self.list("PodDisruptionBudget").filter(move |budget| selects(budget, pod))
    }

    fn allows(&self, budget: &Value, pod: &Object) -> bool {
        let least = at(budget, "/spec/minAvailable").as_u64().unwrap_or_default();
        let ready = self.list("Pod").filter(|other| selects(budget, other) && is_ready(other));
        let healthy = ready.count() as u64;
        if is_ready(pod) {
            return healthy > least;
        }
        let policy = text(budget, "/spec/unhealthyPodEvictionPolicy");
        policy == "AlwaysAllow" || healthy >= least
    }
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let Some(wanted) = at(budget, "/spec/selector/matchLabels").as_object() else { return false };
    let has = labels(pod);
    wanted.iter().all(|(key, value)| has.and_then(|labels| labels.get(key)) == Some(value))
}

fn is_ready(pod: &Object) -> bool {
    !pod.is_deleting() && pod.is_ready()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kube() -> Kube {
        let mut kube = Kube::default();
        for name in ["a", "b"] {
            let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
            let metadata = json!({"name": name, "labels": {"app": "x"}});
            kube.create(json!({"kind": "Pod", "metadata": metadata, "status": status})).unwrap();
        }
        kube
    }

    fn budget(least: u32) -> Value {
        let selector = json!({"matchLabels": {"app": "x"}});
        json!({
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "b"},
            "spec": {"minAvailable": least, "selector": selector},
        })
    }

    #[test]
    fn an_eviction_is_refused_while_the_budget_is_spent() {
        let mut kube = kube();
        kube.create(budget(2)).unwrap();
        assert_eq!(kube.evict("a").unwrap_err().code, 429);
        kube.delete(&Key::new("PodDisruptionBudget", "b"), None).unwrap();
        kube.create(budget(1)).unwrap();
        kube.evict("a").unwrap();
        assert!(kube.get("Pod", "a").is_none());
        assert_eq!(kube.evict("b").unwrap_err().code, 429);
    }

    #[test]
    fn a_claim_grows_where_its_class_lets_it_and_never_shrinks() {
        let mut kube = Kube::default();
        let claim = |name: &str, class: &str| {
            let requests = json!({"requests": {"storage": "10Gi"}});
            let spec = json!({"storageClassName": class, "resources": requests});
            json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
        };
        kube.create(claim("soft", "ssd")).unwrap();
        kube.create(claim("hard", "local")).unwrap();
        kube.rigid_classes.insert("local".to_owned());
        let key = |name: &str| Key::new("PersistentVolumeClaim", name);
        kube.resize_claim(&key("soft"), "uid-0001", "20Gi").unwrap();
        assert_eq!(kube.resize_claim(&key("soft"), "uid-0001", "1Gi").unwrap_err().code, 422);
        assert_eq!(kube.resize_claim(&key("hard"), "uid-0002", "20Gi").unwrap_err().code, 403);
        kube.full_claims.insert("soft".to_owned());
        assert_eq!(kube.resize_claim(&key("soft"), "uid-0001", "30Gi").unwrap_err().code, 403);
    }
}
