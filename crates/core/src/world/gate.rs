//! Which tasks want to run before or when the operator does something?
//!
//! A task is read field by field: one that a newer operator wrote, with an event or an outcome that
//! this one does not know, holds what it held before. What is not understood is never "no gate".

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use tikv_operator_api::v1alpha1::{GateStatus, TaskEvent};

use crate::facts::text::{list, text, texts};
use crate::task::{TOO_MANY_CLUSTERS, check_task, task_facts};

/// The tasks that ask for the start of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gates {
    /// They could not be read: why.
    Unknown(String),
    /// These.
    Known(Vec<Gate>),
}

impl Default for Gates {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

/// A task that asks for the start of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Its name.
    pub task: String,
    /// The upgrade waits for its run.
    pub before: bool,
    /// It asks for nothing until it is resumed.
    pub suspended: bool,
    /// When it was created: what was announced before does not wait for it.
    pub created: Timestamp,
    /// What it last said to an announcement of this cluster.
    pub answer: Option<GateStatus>,
    /// Why it cannot be carried out.
    pub problem: Option<String>,
}

impl Gates {
    /// Of all tasks in a cluster's namespace, those that ask for the start of its upgrade, or will when
    /// they are resumed. One that is being deleted asks for nothing.
    pub fn of<'a>(
        tasks: impl Iterator<Item = &'a Value>,
        cluster: &str,
        labels: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Self {
        Self::Known(tasks.filter_map(|task| gate(task, cluster, labels, now)).collect())
    }
}

impl Gates {
    /// Is anybody to be asked? Where that is not known, yes.
    pub(crate) fn ask(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Known(gates) => gates.iter().any(|gate| !gate.suspended),
        }
    }
}

fn gate(
    body: &Value,
    cluster: &str,
    labels: &BTreeMap<String, String>,
    now: Timestamp,
) -> Option<Gate> {
    let going = text(body, "/metadata/deletionTimestamp").is_some();
    let asks = list(body, "/spec/events")
        .any(|event| event.as_str() == Some(TaskEvent::UpgradeStarting.as_str()));
    if going || !asks || !(text(body, "/spec/cluster") == Some(cluster) || selects(body, labels)) {
        return None;
    }
    let seen = list(body, "/status/clusters").find(|seen| text(seen, "/name") == Some(cluster));
    let said = seen.and_then(|seen| seen.get("gate")).cloned();
    let answer: Option<GateStatus> = said.and_then(|said| serde_json::from_value(said).ok());
    let opens = answer.as_ref().is_some_and(|answer| answer.outcome.opens());
    let created = text(body, "/metadata/creationTimestamp").and_then(|at| at.parse().ok());
    let problem = match check_task(body, now) {
        Err(rejection) => Some(rejection.to_string()),
        Ok(_) if !opens && task_facts(body).is_none() => Some(
            "its status cannot be read by this version of the operator. Install the version that \
             wrote it, or delete the task and create it anew."
                .to_owned(),
        ),
        Ok(_) if seen.is_none() && leaves_some_out(body) => Some(
            "it selects more clusters than it looks after, and this one is left out. Make several \
             tasks of it."
                .to_owned(),
        ),
        Ok(_) => None,
    };
    Some(Gate {
        task: text(body, "/metadata/name").unwrap_or_default().to_owned(),
        before: text(body, "/spec/gate") == Some("before"),
        suspended: body.pointer("/spec/suspend") == Some(&Value::Bool(true)),
        // One whose age is not known is as old as any.
        created: created.unwrap_or(Timestamp::MIN),
        answer,
        problem,
    })
}

/// Does it select more clusters than one task looks after? It says so itself.
fn leaves_some_out(body: &Value) -> bool {
    let mut conditions = list(body, "/status/conditions");
    conditions.any(|condition| text(condition, "/reason") == Some(TOO_MANY_CLUSTERS))
}

/// Does its label selector select the cluster?
fn selects(body: &Value, labels: &BTreeMap<String, String>) -> bool {
    let wanted = texts(body, "/spec/clusterSelector/matchLabels");
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(spec: &Value, status: &Value) -> Value {
        let mut body = json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask",
            "metadata": {
                "name": "t", "namespace": "ns", "uid": "u", "generation": 1,
                "creationTimestamp": "2026-11-22T11:00:00Z",
            },
            "spec": tikv_operator_api::cases::task_spec(),
            "status": status,
        });
        body["spec"]["cluster"] = json!("c");
        body["spec"]["events"] = json!(["UpgradeStarting"]);
        body["spec"]["gate"] = json!("before");
        for (key, value) in spec.as_object().expect("an object") {
            body["spec"][key] = value.clone();
        }
        body
    }

    fn of(body: &Value) -> Option<Gate> {
        let labels = [("team".to_owned(), "a".to_owned())].into();
        let Gates::Known(gates) =
            Gates::of([body].into_iter(), "c", &labels, crate::fixture::now())
        else {
            panic!("unknown")
        };
        gates.into_iter().next()
    }

    #[test]
    fn those_that_name_or_select_the_cluster_hold_it() {
        let gate = of(&body(&json!({}), &json!(null))).expect("a gate");
        assert!(gate.before && gate.problem.is_none(), "{gate:?}");
        assert_eq!(gate.created.to_string(), "2026-11-22T11:00:00Z");
        let selector = |labels: Value| json!({"cluster": null, "clusterSelector": labels});
        assert!(
            of(&body(&selector(json!({"matchLabels": {"team": "a"}})), &json!(null))).is_some()
        );
        for other in [
            selector(json!({"matchLabels": {"team": "b"}})),
            selector(json!({"matchLabels": {}})),
            json!({"cluster": "d"}),
            json!({"events": ["StoreDown"]}),
        ] {
            assert_eq!(of(&body(&other, &json!(null))), None, "{other}");
        }
        let mut going = body(&json!({}), &json!(null));
        going["metadata"]["deletionTimestamp"] = json!("2026-11-22T12:00:00Z");
        assert_eq!(of(&going), None);
        assert!(!of(&body(&json!({"gate": "after"}), &json!(null))).expect("a gate").before);
        let suspended = of(&body(&json!({"suspend": true}), &json!(null))).expect("known of");
        assert!(suspended.suspended && !gate.suspended);
        assert!(Gates::Known(vec![gate]).ask() && !Gates::Known(vec![suspended]).ask());
    }

    #[test]
    fn a_cluster_that_its_task_leaves_out_is_told_why_it_is_held() {
        let condition = json!({
            "type": "Ready", "status": "False", "reason": "TooManyClusters", "message": "many",
            "lastTransitionTime": "2026-11-22T11:00:00Z",
        });
        let selector = json!({"cluster": null, "clusterSelector": {"matchLabels": {"team": "a"}}});
        let mut status = json!({"conditions": [condition]});
        let gate = of(&body(&selector, &status)).expect("a gate");
        assert!(gate.problem.expect("told").contains("left out"));
        status["clusters"] = json!([{"name": "c", "uid": "u"}]);
        assert_eq!(of(&body(&selector, &status)).expect("a gate").problem, None);
    }

    /// As after a downgrade of the operator.
    #[test]
    fn what_is_not_understood_holds_and_is_told() {
        let newer = body(&json!({"events": ["UpgradeStarting", "NotYetKnown"]}), &json!(null));
        let gate = of(&newer).expect("still a gate");
        assert!(gate.before && gate.problem.is_some(), "{gate:?}");
        let run =
            json!({"key": "k", "cluster": "c", "since": "2026-11-22T11:30:00Z", "outcome": "New"});
        let status = |outcome: &str| {
            json!({
                "runs": [run],
                "clusters": [{"name": "c", "uid": "u", "gate": {"id": "one", "outcome": outcome}}],
            })
        };
        let gate = of(&body(&json!({}), &status("Running"))).expect("still a gate");
        assert!(gate.problem.expect("told").contains("status cannot be read"));
        let gate = of(&body(&json!({}), &status("Succeeded"))).expect("still a gate");
        assert_eq!(gate.problem, None, "what it said can be read, and it let the upgrade pass");
        let gate = of(&body(&json!({}), &status("Odd"))).expect("still a gate");
        assert!(gate.answer.is_none() && gate.problem.is_some());
    }
}
