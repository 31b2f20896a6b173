//! What does the operator say of a task that cannot be carried out, and what becomes of the others?

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    server::apply,
    tasks::{Receiver, Stage, outcome},
};

/// A Secret that is not there, one without the key, and a receiver that nobody reaches: said on the task while it tries
/// again, and mended without an edit of the task.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_lacks_is_said_until_it_is_there() {
    let stage = Stage::new("task-lacks").await;
    let receiver = Receiver::run(&[202, 202]).await;
    stage
        .account("pager", json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]))
        .await;
    let secret = |name: &str, key: &str| {
        let metadata = json!({"name": name, "namespace": stage.namespace});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {key: "a"}})
    };
    apply(&stage.admin, &secret("other-key", "b")).await;
    let hook = |address: &str, name: &str| {
        let header =
            json!({"name": "Authorization", "secretKeyRef": {"name": name, "key": "token"}});
        let call = json!({"url": format!("http://{address}/hook"), "headersFrom": [header]});
        json!({"events": ["NodeCordoned"], "serviceAccountName": "pager", "run": {"http": call}})
    };
    // A port that nobody listens on any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let unheard = json!({"http": {"url": format!("http://{gone}/hook")}});
    stage.task("absent", hook(&receiver.address, "absent")).await;
    stage.task("other-key", hook(&receiver.address, "other-key")).await;
    stage.task("unheard", json!({"events": ["NodeCordoned"], "run": unheard})).await;
    stage.task("good", json!({"events": ["NodeCordoned"]})).await;
    for task in ["absent", "other-key", "unheard", "good"] {
        stage.looked(task).await;
    }
    stage.cordon(&["n1"]).await;
    for (task, words) in [
        ("absent", "Secret absent (read as service account pager)"),
        ("other-key", "Secret other-key has no key token"),
        ("unheard", &gone.to_string()),
    ] {
        let tries = |status: &Value| status["conditions"][0]["reason"] == "TriesAgain";
        let status = stage.until(task, tries).await;
        let message = status["conditions"][0]["message"].as_str().unwrap();
        assert!(message.contains(words), "{task}: {message}");
    }
    stage.until("good", |status| outcome(status, 0) == "Running").await;
    for name in ["absent", "other-key"] {
        apply(&stage.admin, &secret(name, "token")).await;
        stage.until(name, |status| outcome(status, 0) == "Succeeded").await;
    }
    assert_eq!(receiver.heard().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_carried_out_is_said_and_disturbs_nothing() {
    let stage = Stage::new("task-bad").await;
    for (name, fields, words) in [
        ("when", json!({"when": "event.type =="}), "spec.when"),
        ("cron", json!({"events": null, "schedule": "0 25 * * *"}), "spec.schedule"),
        (
            "zone",
            json!({"events": null, "schedule": "0 3 * * *", "timeZone": "A/B"}),
            "spec.timeZone",
        ),
        ("none", json!({"cluster": "nowhere"}), "spec.cluster"),
    ] {
        let fields = match fields.get("events") {
            Some(Value::Null) => {
                let mut fields = fields.clone();
                fields["events"] = json!([]);
                fields
            }
            _ => fields,
        };
        stage.task(name, fields).await;
        let status = stage.until(name, |status| status["conditions"][0]["status"] == "False").await;
        let message = status["conditions"][0]["message"].as_str().unwrap();
        assert!(message.contains(words) && message.ends_with('.'), "{name}: {message}");
    }
    // A good one beside them works, and a bad one that is corrected begins to.
    stage.task("good", json!({"events": ["NodeCordoned"]})).await;
    stage.looked("good").await;
    let fix = json!({"spec": {"when": "true", "events": ["NodeCordoned"]}});
    stage.tasks().patch("when", &PatchParams::default(), &Patch::Merge(&fix)).await.unwrap();
    stage.looked("when").await;
    stage.cordon(&["n1"]).await;
    stage.until("good", |status| outcome(status, 0) == "Running").await;
    stage.until("when", |status| outcome(status, 0) == "Running").await;
}
