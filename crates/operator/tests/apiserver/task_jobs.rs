//! Do Jobs come and go with their runs, and in time? Are the examples taken?

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::{
    api::{DeleteParams, ListParams},
    runtime::watcher,
};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    server::apply,
    tasks::{Stage, outcome},
};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tasks");

/// Jobs of the task that are not being deleted.
async fn jobs(stage: &Stage, task: &str) -> Vec<String> {
    let labelled = ListParams::default().labels(&format!("tikv.org/task={task}"));
    let list = stage.jobs().list(&labelled).await.unwrap();
    let there = list.items.into_iter().filter(|job| job.metadata.deletion_timestamp.is_none());
    there.filter_map(|job| job.metadata.name).collect()
}

async fn until_jobs(stage: &Stage, task: &str, wanted: &[String]) {
    let start = Instant::now();
    loop {
        let there = jobs(stage, task).await;
        if there == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{task}: still {there:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_when_another_run_takes_the_place_of_its_own() {
    let stage = Stage::new("task-replace").await;
    stage.task("t", json!({"events": ["NodeCordoned"], "concurrencyPolicy": "Replace"})).await;
    stage.looked("t").await;
    stage.cordon(&["n1"]).await;
    stage.until("t", |status| outcome(status, 0) == "Running").await;
    stage.cordon(&["n1", "n2"]).await;
    let status = stage
        .until("t", |status| outcome(status, 0) == "Replaced" && outcome(status, 1) == "Running")
        .await;
    assert_eq!(status["runs"][1]["subject"], "n2");
    let second = format!("t-{}", status["runs"][1]["key"].as_str().unwrap());
    until_jobs(&stage, "t", &[second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_with_the_time_of_its_run_and_the_run_with_its_own() {
    let stage = Stage::new("task-timeout").await;
    let spec = json!({
        "events": ["NodeCordoned"], "timeout": "2s", "ttlSecondsAfterFinished": 2,
        "run": {"job": {"template": {"spec": {"activeDeadlineSeconds": 600, "template": {"spec": {
            "containers": [{"name": "work", "image": "work:1"}],
        }}}}}},
    });
    stage.task("t", spec).await;
    stage.looked("t").await;
    stage.cordon(&["n1"]).await;
    let status = stage.until("t", |status| outcome(status, 0) == "Failed").await;
    let words = status["runs"][0]["message"].as_str().unwrap();
    assert!(words.contains("within 2 s"), "{words}");
    until_jobs(&stage, "t", &[]).await;
    stage.until("t", |status| status["runs"].as_array().is_none_or(Vec::is_empty)).await;
}

/// As `kubectl delete job` does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_deletes_is_not_made_again_without_end() {
    let stage = Stage::new("task-deleted").await;
    stage.task("t", json!({"events": ["NodeCordoned"], "backoffLimit": 0})).await;
    stage.looked("t").await;
    stage.cordon(&["n1"]).await;
    let status = stage.until("t", |status| status["runs"][0]["jobMade"] == true).await;
    let job = format!("t-{}", status["runs"][0]["key"].as_str().unwrap());
    stage.jobs().delete(&job, &DeleteParams::background()).await.unwrap();
    let status = stage.until("t", |status| outcome(status, 0) == "Failed").await;
    let words = status["runs"][0]["message"].as_str().unwrap();
    assert!(words.contains("was deleted"), "{words}");
    until_jobs(&stage, "t", &[]).await;
}

/// The examples as they stand are taken by the API server, and by the operator once their cluster is
/// there.
#[tokio::test(flavor = "multi_thread")]
async fn examples_are_taken() {
    let stage = Stage::new("task-examples").await;
    apply(
        &stage.admin,
        &json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
            "metadata": {
                "name": "basic", "namespace": stage.namespace, "labels": {"tier": "production"},
            },
            "spec": {"version": "v8.5.7", "paused": true, "tikv": {"replicas": 3}},
        }),
    )
    .await;
    let mut tasks = Vec::new();
    for entry in std::fs::read_dir(EXAMPLES).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for document in text.split("\n---\n") {
            let mut body: Value = serde_saphyr::from_str(document).unwrap();
            body["metadata"]["namespace"] = json!(stage.namespace);
            if body["kind"] == "TikvTask" {
                tasks.push(body["metadata"]["name"].as_str().unwrap().to_owned());
            }
            apply(&stage.admin, &body).await;
        }
    }
    assert_eq!(tasks.len(), 5);
    for task in tasks {
        let ready = |status: &Value| {
            let conditions = status["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|c| c["type"] == "Ready" && c["reason"] == "Accepted")
        };
        stage.until(&task, ready).await;
    }
}

/// When each Job was first heard of, by its name.
type Made = Arc<Mutex<BTreeMap<String, Instant>>>;

/// Hears of Jobs as they are made.
fn listen(stage: &Stage) -> (Made, tokio::task::JoinHandle<()>) {
    let made = Made::default();
    let (into, jobs) = (Arc::clone(&made), stage.jobs());
    let listening = tokio::spawn(async move {
        let mut news = std::pin::pin!(watcher(jobs, watcher::Config::default()));
        while let Some(event) = news.next().await {
            if let Ok(watcher::Event::Apply(job) | watcher::Event::InitApply(job)) = event {
                let name = job.metadata.name.unwrap_or_default();
                into.lock().unwrap().entry(name).or_insert_with(Instant::now);
            }
        }
    });
    (made, listening)
}

/// Promised is a second for 99 of 100 on a machine that has time, and that is measured on the lab. Beside
/// all other tests the middle one must keep it, and the fastest one shows what the loop itself adds to the
/// calls: a pause, or a call too many before the Job, is more than it may take.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_job_within_a_second() {
    const TASKS: usize = 10;
    const EVENTS: usize = 10;
    const LOOP: Duration = Duration::from_millis(200);
    let stage = Stage::new("task-latency").await;
    for n in 0..TASKS {
        let spec = json!({"events": ["NodeCordoned"], "concurrencyPolicy": "Allow"});
        stage.task(&format!("t{n}"), spec).await;
    }
    for n in 0..TASKS {
        stage.looked(&format!("t{n}")).await;
    }
    let (made, listening) = listen(&stage);
    let mut took = Vec::new();
    for event in 1..=EVENTS {
        let start = Instant::now();
        stage.cordon(&[format!("n{event}").as_str()]).await;
        while made.lock().unwrap().len() < TASKS * event {
            assert!(start.elapsed() < PATIENCE, "event {event}: {:?}", made.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let made = made.lock().unwrap();
        took.extend(made.values().filter(|at| **at > start).map(|at| at.duration_since(start)));
    }
    listening.abort();
    took.sort_unstable();
    let (fastest, middle, slow, slowest) = (took[0], took[49], took[98], took[99]);
    println!("event to Job: {fastest:?}, p50 {middle:?}, p99 {slow:?}, at worst {slowest:?}");
    assert_eq!(took.len(), TASKS * EVENTS, "one Job for each");
    assert!(middle <= Duration::from_secs(1), "{took:?}");
    assert!(fastest <= LOOP, "{took:?}");
}
