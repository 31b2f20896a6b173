//! Was this spec checked before?
//!
//! The same spec is looked at in every pass. Checking it takes many times as long as a plan, and what
//! is prepared from a checked spec lives as long as the [`Cluster`] does: so it is kept.
//!
//! The last spec that was valid is kept too. What CEL can see, the API server refuses, and the spec
//! before stays in force; what only `check` can see (reserved keys, invalid TOML) is to have the same
//! effect, as far as this process goes back: repairs, failover and disruption budgets go on.

use serde_json::Value;
use tikv_operator_core::{
    check::{Rejection, check_value},
    cluster::Cluster,
    world::{ResourceFacts, Uid},
};

/// The last answer of `check` for one resource.
#[derive(Debug, Default)]
pub struct LastCheck {
    last: Option<Known>,
    /// The last spec that was valid, and whose.
    valid: Option<(Uid, Cluster)>,
}

#[derive(Debug)]
struct Known {
    /// Another resource may come to bear the name.
    uid: Uid,
    /// The API server counts it up with every change of the spec.
    generation: i64,
    answer: Result<Cluster, Rejection>,
}

impl LastCheck {
    /// The checked spec of `resource`, of which `facts` were taken.
    pub fn of(&mut self, resource: &Value, facts: &ResourceFacts) -> Result<Cluster, Rejection> {
        let (uid, generation) = (&facts.uid, facts.generation);
        let same = |known: &&Known| known.uid == *uid && known.generation == generation;
        if let Some(known) = self.last.as_ref().filter(same) {
            return known.answer.clone();
        }
        let answer = check_value(resource);
        if let Ok(cluster) = &answer {
            self.valid = Some((uid.clone(), cluster.clone()));
        }
        self.last = Some(Known { uid: uid.clone(), generation, answer: answer.clone() });
        answer
    }

    /// The spec that stays in force while that of `resource` is not valid: the last valid one of the
    /// same resource. None where the present one asks for a pause, whatever else it asks for.
    pub fn kept(&self, resource: &Value, facts: &ResourceFacts) -> Option<Cluster> {
        let paused = resource.pointer("/spec/paused").and_then(Value::as_bool) == Some(true);
        let (_, cluster) = self.valid.as_ref().filter(|(uid, _)| *uid == facts.uid && !paused)?;
        Some(cluster.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tikv_operator_api::v1alpha1::TikvClusterStatus;

    use super::*;

    fn resource(uid: &str, generation: i64, version: &str) -> (Value, ResourceFacts) {
        let resource = json!({
            "apiVersion": "tikv.org/v1alpha1",
            "kind": "TikvCluster",
            "metadata": {"name": "c", "namespace": "ns", "uid": uid, "generation": generation},
            "spec": {"version": version},
        });
        let facts = ResourceFacts {
            name: "c".to_owned(),
            uid: Uid(uid.to_owned()),
            generation,
            deleting_since: None,
            finalizer: false,
            orphans: false,
            skip_gate: None,
            status: TikvClusterStatus::default(),
        };
        (resource, facts)
    }

    #[test]
    fn a_spec_is_checked_again_when_it_changed_or_is_anothers() {
        let mut last = LastCheck::default();
        let mut version = |uid, generation, version| {
            let (resource, facts) = resource(uid, generation, version);
            let cluster = last.of(&resource, &facts).expect("a valid spec");
            cluster.pd.common.version.to_string()
        };
        assert_eq!(version("a", 1, "v8.5.6"), "v8.5.6");
        // The generation says that nothing changed, so nothing is read again.
        assert_eq!(version("a", 1, "v8.5.7"), "v8.5.6");
        assert_eq!(version("a", 2, "v8.5.7"), "v8.5.7");
        assert_eq!(version("b", 2, "v8.5.8"), "v8.5.8");
    }

    #[test]
    fn the_last_valid_spec_of_the_same_resource_is_kept() {
        let mut last = LastCheck::default();
        let (bad, facts) = resource("a", 1, "");
        assert!(last.of(&bad, &facts).is_err());
        assert!(last.kept(&bad, &facts).is_none(), "there was none");
        let (good, facts) = resource("a", 2, "v8.5.6");
        assert!(last.of(&good, &facts).is_ok());
        let (mut bad, facts) = resource("a", 3, "");
        assert!(last.of(&bad, &facts).is_err());
        let kept = last.kept(&bad, &facts).expect("the one before");
        assert_eq!((kept.generation, kept.pd.common.version.to_string()), (2, "v8.5.6".into()));
        let (other, of_other) = resource("b", 3, "");
        assert!(last.kept(&other, &of_other).is_none());
        bad["spec"]["paused"] = json!(true);
        assert!(last.kept(&bad, &facts).is_none(), "whoever pauses means it");
    }
}
