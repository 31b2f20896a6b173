//! Which tasks ask for the start of a cluster's upgrade?
//!
//! A live look asks the API server, whatever the watch says: a task that was applied together with the
//! new version may not have been heard of yet, and what is restarted is decided on what the tasks say
//! now. That there is no such kind is the only proof of "none" beside a list.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tikv_operator_core::world::Gates;

use super::Freshness;
use crate::{
    kubernetes::{Kubernetes, Resource},
    task::TaskCache,
};

pub(super) async fn look(
    kubernetes: &Kubernetes,
    tasks: &TaskCache,
    cluster: &Value,
    freshness: Freshness,
) -> Gates {
    let text = |pointer| cluster.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    let tasks = match freshness {
        Freshness::Cached => match tasks.of_namespace(namespace) {
            Ok(watched) => watched,
            Err(why) => return Gates::Unknown(why),
        },
        Freshness::Live => match kubernetes.list(Resource::Task, namespace, "").await {
            Ok(tasks) => tasks.into_iter().map(Arc::new).collect(),
            Err(error) if error.code() == Some(404) => return Gates::default(),
            Err(error) => return Gates::Unknown(error.to_string()),
        },
    };
    let labels = cluster.pointer("/metadata/labels").cloned().unwrap_or_default();
    let labels = serde_json::from_value(labels).unwrap_or_default();
    Gates::of(tasks.iter().map(AsRef::as_ref), name, &labels, Timestamp::now())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{fake::Fake, lease::Fence, metrics::Metrics};

    async fn live(status: u16, body: Value) -> Gates {
        let fake = Fake::run(move |_| Some((status, body.to_string()))).await;
        let config = kube::Config::new(format!("http://{}", fake.address).parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let kubernetes = Kubernetes::new(client, Fence::new(), Metrics::new());
        let cluster = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "u"}});
        // The watch was never heard of.
        let gates = look(&kubernetes, &TaskCache::new(), &cluster, Freshness::Live).await;
        assert_eq!(fake.asked().len(), 1, "asked");
        gates
    }

    fn refusal(code: u16, reason: &str) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
            "code": code, "reason": reason, "message": "no",
        })
    }

    #[tokio::test]
    async fn a_live_look_finds_what_the_watch_has_not_told() {
        let mut spec = tikv_operator_api::cases::task_spec();
        spec["cluster"] = json!("c");
        spec["events"] = json!(["UpgradeStarting"]);
        spec["gate"] = json!("before");
        let task = json!({"metadata": {"name": "t", "namespace": "ns", "uid": "t"}, "spec": spec});
        let list = json!({
            "kind": "TikvTaskList", "apiVersion": "tikv.org/v1alpha1", "metadata": {},
            "items": [task],
        });
        let Gates::Known(gates) = live(200, list).await else { panic!("unknown") };
        assert_eq!(gates.iter().map(|gate| gate.task.as_str()).collect::<Vec<_>>(), ["t"]);
    }

    #[tokio::test]
    async fn only_a_missing_kind_is_known_to_be_none() {
        assert_eq!(live(404, refusal(404, "NotFound")).await, Gates::default());
        for (code, reason) in [(403, "Forbidden"), (401, "Unauthorized")] {
            let gates = live(code, refusal(code, reason)).await;
            assert!(matches!(gates, Gates::Unknown(_)), "{code}: {gates:?}");
        }
    }
}
