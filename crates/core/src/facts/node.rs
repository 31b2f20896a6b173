//! What does a node's JSON say?

use serde_json::Value;

use super::text::{list, text, texts, time};
use crate::world::NodeFacts;

/// Somebody vouches that the node is off: its pods may be started elsewhere on their volumes.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The facts of a node, by its name. `None` for what is no node.
pub fn node_facts(body: &Value) -> Option<(String, NodeFacts)> {
    let name = text(body, "/metadata/name")?.to_owned();
    let ready = list(body, "/status/conditions").find(|c| text(c, "/type") == Some("Ready"));
    let facts = NodeFacts {
        // `Unknown`, and no condition at all, are not ready: nobody hears its kubelet.
        ready: ready.and_then(|c| text(c, "/status")) == Some("True"),
        ready_since: ready.and_then(|c| time(c, "/lastTransitionTime")),
        cordoned: body.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true),
        out_of_service: list(body, "/spec/taints").any(|t| text(t, "/key") == Some(OUT_OF_SERVICE)),
        labels: texts(body, "/metadata/labels"),
    };
    Some((name, facts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(status: &str) -> Value {
        json!({
            "metadata": { "name": "n1", "labels": { "topology.kubernetes.io/zone": "a" } },
            "spec": {},
            "status": { "conditions": [
                { "type": "MemoryPressure", "status": "True" },
                { "type": "Ready", "status": status, "lastTransitionTime": "2026-11-23T01:00:00Z" },
            ] },
        })
    }

    #[test]
    fn a_node_is_ready_only_if_it_says_so() {
        let (name, facts) = node_facts(&node("True")).unwrap();
        assert_eq!(name, "n1");
        assert!(facts.ready && !facts.cordoned && !facts.out_of_service);
        assert_eq!(facts.ready_since, "2026-11-23T01:00:00Z".parse().ok());
        assert_eq!(facts.labels["topology.kubernetes.io/zone"], "a");
        assert!(!node_facts(&node("False")).unwrap().1.ready);
        assert!(!node_facts(&node("Unknown")).unwrap().1.ready);
        let bare = json!({ "metadata": { "name": "n1" } });
        assert!(!node_facts(&bare).unwrap().1.ready);
        assert_eq!(node_facts(&json!({})), None);
    }

    #[test]
    fn a_cordon_and_the_out_of_service_taint_are_seen() {
        let mut body = node("True");
        body["spec"] = json!({ "unschedulable": true, "taints": [
            { "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" },
        ] });
        let (_, facts) = node_facts(&body).unwrap();
        assert!(facts.cordoned && !facts.out_of_service);
        body["spec"] = json!({ "taints": [{ "key": OUT_OF_SERVICE, "value": "nodeshutdown" }] });
        assert!(node_facts(&body).unwrap().1.out_of_service);
    }
}
