//! What is told of an event to those who do the work?

use serde_json::{Value, json};
use tikv_operator_api::v1alpha1::{RunStatus, TaskEvent};

/// The event as CloudEvents 1.0 in JSON. `id` is the run's key, the same in every attempt.
pub fn cloud_event(namespace: &str, task: &str, run: &RunStatus) -> Value {
    let kind = run.event.map_or("Due", |event| event.as_str());
    let cluster = &run.cluster;
    json!({
        "specversion": "1.0",
        "id": run.key,
        "source": format!("/apis/tikv.org/v1alpha1/namespaces/{namespace}/tikvclusters/{cluster}"),
        "type": format!("org.tikv.cluster.{kind}"),
        "subject": run.subject.as_deref().unwrap_or(cluster),
        "time": run.since.0.to_string(),
        "datacontenttype": "application/json",
        "data": {
            "event": run.event.map(TaskEvent::as_str),
            "namespace": namespace,
            "cluster": cluster,
            "task": task,
            "subject": run.subject,
            "pod": run.pod,
            "from": run.from,
            "to": run.to,
            "percent": run.percent,
            "detail": run.detail,
            "coalesced": run.coalesced,
        },
    })
}
