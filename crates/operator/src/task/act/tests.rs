//! What steps are answered, against API servers that are none.

use std::{collections::BTreeMap, sync::Mutex};

use kube::Client;
use serde_json::json;
use tikv_operator_core::task::{RunKey, Target, check_task};

use super::*;
use crate::{fake::Fake, lease::Fence, metrics::Metrics};

fn worker(api: &Fake) -> (Worker, Client) {
    let config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
    let client = Client::try_from(config).unwrap();
    let fence = Fence::new();
    fence.open(tokio::time::Instant::now() + std::time::Duration::from_mins(5));
    let kubernetes = Kubernetes::new(client.clone(), fence, Metrics::new());
    let accounts = Accounts::new(kubernetes.clone(), None);
    (Worker { kubernetes, accounts, egress: Egress::default() }, client)
}

fn status(code: u16) -> String {
    let reason = if code == 404 { "NotFound" } else { "Forbidden" };
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "code": code, "reason": reason, "message": "no",
    })
    .to_string()
}

fn pod(uid: &str, annotations: &Value) -> String {
    let labels = json!({"tikv.org/cluster": "c"});
    let metadata = json!({"uid": uid, "labels": labels, "annotations": annotations});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}).to_string()
}

/// Two hundred stores, of which one pod is gone and one fails once.
#[tokio::test]
async fn an_attempt_goes_on_where_the_one_before_it_ended() {
    let done = std::sync::Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let held = std::sync::Arc::clone(&done);
    let failed = Mutex::new(false);
    let api = Fake::run(move |asked| {
        let path = asked.line.split_whitespace().nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut done = held.lock().unwrap();
        if name == "c-tikv-7" {
            return Some((404, status(404)));
        }
        if asked.line.starts_with("GET") {
            let value = done.contains(&name).then_some("true");
            return Some((200, pod(&name, &json!({"tikv.org/restart": value}))));
        }
        let mut failed = failed.lock().unwrap();
        if name == "c-tikv-150" && !*failed {
            *failed = true;
            return Some((403, status(403)));
        }
        done.insert(name.clone());
        Some((200, pod(&name, &json!({}))))
    })
    .await;
    let (worker, client) = worker(&api);
    let acting = AccountClient { client, namespace: "ns", account: "a" };
    let call = Annotation {
        cluster: "c".into(),
        on: Annotated::Pods,
        names: (0..200).map(|ordinal| format!("c-tikv-{ordinal}")).collect(),
        key: "tikv.org/restart",
        value: Some("true".into()),
        made_before: None,
    };
    let first = worker.annotate(&call, &acting).await;
    assert!(matches!(first, Ok(Answer::Again(_))), "{first:?}");
    assert_eq!(done.lock().unwrap().len(), 149);
    let Ok(Answer::Done(words)) = worker.annotate(&call, &acting).await else { panic!("again") };
    assert!(words.contains("199 pods") && words.contains("not there: c-tikv-7"), "{words}");
    assert_eq!(api.changes().len(), 200, "each once, and one twice");
}

/// The run began, and the claim was made then: nothing was asked of it. A pod that is new needs no restart.
#[tokio::test]
async fn a_run_that_left_everything_alone_has_replaced_nothing() {
    for (seconds, on, writes, done) in [
        (60, Annotated::Claims, 0, false),
        (60, Annotated::Pods, 0, true),
        (1, Annotated::Claims, 1, true),
    ] {
        let began: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let made = began + jiff::SignedDuration::from_secs(seconds);
        let metadata = json!({
            "uid": "u", "labels": {"tikv.org/cluster": "c"}, "creationTimestamp": made.to_string(),
        });
        let api = Fake::run(move |_| Some((200, json!({"metadata": metadata}).to_string()))).await;
        let (worker, client) = worker(&api);
        let acting = AccountClient { client, namespace: "ns", account: "a" };
        let wish = Annotation {
            cluster: "c".into(),
            on,
            names: vec!["x".into()],
            key: "tikv.org/replace",
            value: Some("true".into()),
            made_before: Some(began),
        };
        let answer = worker.annotate(&wish, &acting).await.unwrap();
        assert_eq!(matches!(answer, Answer::Done(_)), done, "{seconds} {on:?}: {answer:?}");
        assert_eq!(api.changes().len(), writes, "{seconds} {on:?}");
        let (Answer::Done(words) | Answer::Again(words)) = answer else { panic!("{answer:?}") };
        assert_eq!(words.contains("left alone: x"), writes == 0, "{words}");
    }
}

/// With `Retain` the claim of a store that left stays: a run that names it has nothing to replace, unless it was
/// this run that made it leave.
#[tokio::test]
async fn the_volume_of_a_store_that_left_is_not_replaced() {
    let began: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let at = |seconds: i64| (began + jiff::SignedDuration::from_secs(seconds)).to_string();
    let key = "tikv.org/replace";
    for (annotations, done) in [
        (json!({"tikv.org/retired": "true", "tikv.org/retired-since": at(-60)}), false),
        (
            json!({"tikv.org/retired": "true", "tikv.org/retired-since": at(-60), key: "true"}),
            false,
        ),
        (json!({"tikv.org/retired": "unproven", key: "true"}), false),
        (json!({"tikv.org/retired": "true", "tikv.org/retired-since": at(60)}), false),
        (json!({"tikv.org/retired": "true", "tikv.org/retired-since": at(60), key: "true"}), true),
    ] {
        let metadata = json!({
            "uid": "u", "labels": {"tikv.org/cluster": "c"}, "creationTimestamp": at(-600),
            "annotations": annotations,
        });
        let api = Fake::run(move |_| Some((200, json!({"metadata": metadata}).to_string()))).await;
        let (worker, client) = worker(&api);
        let acting = AccountClient { client, namespace: "ns", account: "a" };
        let wish = Annotation {
            cluster: "c".into(),
            on: Annotated::Claims,
            names: vec!["x".into()],
            key,
            value: Some("true".into()),
            made_before: Some(began),
        };
        let answer = worker.annotate(&wish, &acting).await.unwrap();
        assert_eq!(matches!(answer, Answer::Done(_)), done, "{annotations}: {answer:?}");
        assert_eq!(api.changes().len(), 0, "{annotations}");
        let (Answer::Done(words) | Answer::Again(words)) = answer else { panic!("{answer:?}") };
        assert_eq!(words.contains("not there: x"), !done, "{words}");
    }
}

#[tokio::test]
async fn a_job_is_gone_only_when_the_api_server_says_so() {
    let mut body = json!({
        "metadata": {"name": "t", "namespace": "ns", "uid": "u", "generation": 1},
        "spec": tikv_operator_api::cases::task_spec(),
    });
    body["spec"]["cluster"] = json!("c");
    let task = check_task(&body, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let job = |owner: &str| {
        let owners = json!([{"uid": owner, "controller": true}]);
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"ownerReferences": owners}})
    };
    for (code, answer, there) in [
        (200, job("u").to_string(), true),
        (200, job("another").to_string(), false),
        (404, status(404), false),
        (403, status(403), true),
    ] {
        let api = Fake::run(move |_| Some((code, answer.clone()))).await;
        let (worker, _) = worker(&api);
        let found = worker.find(&task, "t-1").await;
        assert_eq!(matches!(found, Answer::Begun), there, "{code}");
    }
}

fn task() -> Task {
    let mut body = json!({
        "metadata": {"name": "t", "namespace": "ns", "uid": "u", "generation": 1},
        "spec": tikv_operator_api::cases::task_spec(),
    });
    body["spec"]["cluster"] = json!("c");
    check_task(&body, jiff::Timestamp::UNIX_EPOCH).unwrap()
}

fn create() -> TaskStep {
    let metadata = json!({"name": "t-1", "namespace": "ns"});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata});
    TaskStep::CreateJob { key: RunKey("1".into()), job }
}

/// The API server made it, and the connection broke before the answer.
#[tokio::test]
async fn a_job_whose_creation_was_not_answered_is_looked_for() {
    let owners = json!([{"uid": "u", "controller": true}]);
    let metadata = json!({"name": "t-1", "namespace": "ns", "ownerReferences": owners});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata});
    for (made, begun) in [(true, true), (false, false)] {
        let job = job.clone();
        let api = Fake::run(move |asked| match asked.line.starts_with("GET") {
            true if made => Some((200, job.to_string())),
            true => Some((404, status(404))),
            false => None,
        })
        .await;
        let (worker, _) = worker(&api);
        let answer = worker.act(&task(), &create()).await.unwrap();
        assert_eq!(answer == Answer::Begun, begun, "{answer:?}");
        let Answer::Again(words) = answer else { continue };
        assert!(words.contains("create failed"), "why it was looked for: {words}");
    }
}

/// Nothing was tried, so nothing came of it.
#[tokio::test(start_paused = true)]
async fn a_step_without_the_lease_is_no_attempt() {
    let api = Fake::run(|_| Some((404, status(404)))).await;
    let (worker, client) = worker(&api);
    worker.kubernetes.fence().close();
    let acting = AccountClient { client, namespace: "ns", account: "a" };
    let wish = Annotation {
        cluster: "c".into(),
        on: Annotated::Pods,
        names: vec!["c-tikv-0".into()],
        key: "tikv.org/restart",
        value: Some("true".into()),
        made_before: None,
    };
    assert_eq!(worker.act(&task(), &create()).await, None);
    let target = Target::parse("https://93.184.216.34/").unwrap();
    let call = HttpCall {
        target,
        key: RunKey("1".into()),
        headers: BTreeMap::new(),
        headers_from: Vec::new(),
        tls_secret: None,
        time: Duration::from_secs(1),
        body: json!({}),
    };
    let key = RunKey("1".into());
    let post = TaskStep::Call { key, call: Call::Http(Box::new(call)) };
    assert_eq!(worker.act(&task(), &post).await, None);
    assert!(worker.annotate(&wish, &acting).await.is_err());
    assert!(worker.as_account(acting.scale("c", None, 3)).await.is_err());
    let config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
    let accounts = Accounts::new(worker.kubernetes.clone(), Some(config));
    let refused = accounts.client("ns", "a").await.err().unwrap();
    assert!(matches!(refused, AccountError::Fenced(_)), "{refused}");
    assert_eq!(api.asked(), []);
}
