//! Does a real API server accept what must pass and reject what must not?

use http::Request;
use kube::Client;
use serde_json::Value;
use tikv_operator_api::cases::{By, Case, bad, bad_tasks, good, good_tasks};

use crate::server::server;

/// The answer to a create or an update, under strict validation, that changes nothing.
async fn tried(client: &Client, method: &str, path: &str, body: &Value) -> Result<(), String> {
    let dry = if method == "POST" { "dryRun=All&" } else { "" };
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}?{dry}fieldValidation=Strict"))
        .header("content-type", "application/json")
        .body(serde_json::to_vec(body).unwrap())
        .unwrap();
    client.request::<Value>(request).await.map(drop).map_err(|error| error.to_string())
}

fn path(case: &Case, namespace: &str) -> String {
    let kind = if case.task { "tikvtasks" } else { "tikvclusters" };
    format!("/apis/tikv.org/v1alpha1/namespaces/{namespace}/{kind}")
}

async fn judged(client: &Client, case: &Case, index: usize, namespace: &str) -> Result<(), String> {
    let mut after = case.resource();
    after["metadata"]["namespace"] = namespace.into();
    let Some(mut before) = case.before() else {
        return tried(client, "POST", &path(case, namespace), &after).await;
    };
    let name = format!("update-{index}");
    before["metadata"]["namespace"] = namespace.into();
    before["metadata"]["name"] = name.clone().into();
    let request = Request::post(path(case, namespace))
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&before).unwrap())
        .unwrap();
    let made: Value = client.request(request).await.map_err(|e| format!("before: {e}"))?;
    after["metadata"] = made["metadata"].clone();
    tried(client, "PUT", &format!("{}/{name}", path(case, namespace)), &after).await
}

#[tokio::test]
async fn what_must_pass_passes() {
    let server = server().await;
    let namespace = server.namespace("good").await;
    let cases = [good().unwrap(), good_tasks().unwrap()].concat();
    assert!(!cases.is_empty());
    for (index, case) in cases.iter().enumerate() {
        let answer = judged(&server.admin(), case, index, &namespace).await;
        assert_eq!(answer, Ok(()), "{}", case.case);
    }
}

/// Does the message name the field: its whole path, or, of a rule on what is above it, its own name,
/// or the map in which it is a key?
fn names(message: &str, field: &str) -> bool {
    let own = field.rsplit('.').next().unwrap_or(field);
    let maps = ["labels", "annotations", "requests", "matchLabels"];
    let map = maps.into_iter().find(|map| field.contains(&format!(".{map}.")));
    !own.is_empty() && [field, own].into_iter().chain(map).any(|name| message.contains(name))
}

#[tokio::test]
async fn what_must_not_pass_is_rejected_by_whom_the_table_says() {
    let server = server().await;
    let namespace = server.namespace("bad").await;
    let cases = [bad().unwrap(), bad_tasks().unwrap()].concat();
    println!("{} bad specs", cases.len());
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let answer = judged(&server.admin(), case, index, &namespace).await;
        let by_server = match case.by {
            Some(By::Check) | None => false,
            Some(By::Schema | By::Cel | By::Update | By::Strict) => true,
        };
        let reached = !answer.as_ref().is_err_and(|error| error.starts_with("before: "));
        if answer.is_err() != by_server || !reached {
            wrong.push(format!("{}: {:?} expected by {:?}", case.case, answer, case.by));
        }
        let field = case.field.as_deref().unwrap_or_default();
        if answer.is_err() && !names(answer.as_ref().unwrap_err(), field) {
            wrong.push(format!("{}: {field} is not named in {answer:?}", case.case));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
