//! What does the API server look at before it grants a request on a claim or an eviction?

use serde_json::Value;
use tikv_operator_core::facts::bytes;

use super::json::{at, labels, text};
use super::{Key, Kube, Object, Reason, Refusal};

impl Kube {
    /// A larger request for a bound claim ([`crate::beliefs::CLAIMS_GROW`]).
    pub(super) fn check_growth(
        &self,
        key: &Key,
        claim: &Value,
        wanted: &Value,
    ) -> Result<(), Refusal> {
        const REQUEST: &str = "/spec/resources/requests/storage";
        if text(claim, "/status/phase") != "Bound" {
            let words = format!("{key}: spec is immutable after creation except for bound claims");
            return Err(Refusal::invalid("spec", words));
        }
        let (size, has) = (bytes(text(wanted, REQUEST)), text(claim, "/status/capacity/storage"));
        if size < bytes(text(claim, REQUEST)) && size <= bytes(has) {
            let words = format!("{key}: field can not be less than status.capacity");
            return Err(Refusal::invalid("spec.resources.requests.storage", words));
        }
        let class = text(claim, "/spec/storageClassName");
        if self.rigid_classes.contains(class) {
            let words = "only dynamically provisioned pvc can be resized and the storageclass that \
                         provisions the pvc must support resize";
            return Err(Refusal::forbidden(format!("{key} is forbidden: {words}")));
        }
        if self.full_claims.contains(&key.name) {
            let words = "exceeded quota: storage";
            return Err(Refusal::forbidden(format!("{key} is forbidden: {words}")));
        }
        Ok(())
    }

    /// What webhooks say to a write of an object of this kind that is no deletion.
    pub fn admit(&self, key: &Key) -> Result<(), Refusal> {
        if self.denied.contains(&key.kind) {
            let words = "admission webhook \"policy.example.org\" denied the request";
            return Err(Refusal::forbidden(format!("{key}: {words}")));
        }
        Ok(())
    }

    /// The eviction subresource: 429 while a budget does not allow it
    /// ([`crate::beliefs::EVICTION_ASKS_BUDGETS`]).
    pub fn evict(&mut self, pod: &str) -> Result<(), Refusal> {
        let key = Key::new("Pod", pod);
        let Some(body) = self.get("Pod", pod) else {
            return Err(Refusal::not_found(&key));
        };
        if self.budgets_of(body).any(|budget| !self.allows(budget, body)) {
            let words = "Cannot evict pod as it would violate the pod's disruption budget.";
            return Err(Refusal::new(429, Reason::TooManyRequests, words));
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
    use serde_json::json;

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
            let status = json!({"phase": "Bound", "capacity": {"storage": "10Gi"}});
            let metadata = json!({"name": name});
            let kind = "PersistentVolumeClaim";
            json!({"kind": kind, "metadata": metadata, "spec": spec, "status": status})
        };
        kube.create(claim("soft", "ssd")).unwrap();
        kube.create(claim("hard", "local")).unwrap();
        kube.rigid_classes.insert("local".to_owned());
        let key = |name: &str| Key::new("PersistentVolumeClaim", name);
        let resize = |kube: &mut Kube, name: &str, size: &str| {
            let wanted = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            kube.merge(&key(name), &wanted).map_err(|refusal| refusal.code)
        };
        assert_eq!(resize(&mut kube, "soft", "20Gi"), Ok(()));
        assert_eq!(resize(&mut kube, "soft", "1Gi"), Err(422));
        assert_eq!(resize(&mut kube, "hard", "20Gi"), Err(403));
        kube.full_claims.insert("soft".to_owned());
        assert_eq!(resize(&mut kube, "soft", "30Gi"), Err(403));
    }
}
