//! Passes against an API server that is none.

use super::*;
use crate::{
    fake::Fake,
    kubernetes::Kubernetes,
    lease::Fence,
    metrics::Metrics,
    observe::{Cache, News},
    task::{Accounts, Egress},
};
use tikv_operator_core::task::TaskStep;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, sync::mpsc};

const KEY: (&str, &str) = ("ns", "t");

fn key() -> Key {
    Key { namespace: KEY.0.into(), name: KEY.1.into() }
}

fn cluster(name: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
        "metadata": {
            "name": name, "namespace": "ns", "uid": name, "generation": 1,
            "resourceVersion": "5", "labels": {"team": "a"},
        },
        "spec": {"version": "v8.5.7"}, "status": status,
    })
}

fn task(fields: &Value) -> Value {
    let mut spec = tikv_operator_api::cases::task_spec();
    for (field, value) in fields.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({
        "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask", "spec": spec,
        "metadata": {
            "name": "t", "namespace": "ns", "uid": "u", "generation": 1, "resourceVersion": "6",
            "creationTimestamp": "2026-11-22T11:00:00Z",
        },
    })
}

fn conflict() -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "code": 409, "reason": "Conflict", "message": "the object has been modified",
    })
    .to_string()
}

fn missing() -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "code": 404, "reason": "NotFound", "message": "there is none",
    })
    .to_string()
}

/// A pass of an operator that watches `own` of the clusters `all`.
async fn pass(task: &Value, all: Vec<Value>, own: Vec<Value>) -> (TaskPass, Fake) {
    let stored = std::sync::Mutex::new(task.clone());
    let fake = Fake::run(move |asked| {
        let mut stored = stored.lock().unwrap();
        let patched = asked.line.starts_with("PATCH");
        if stored["gone"] == true {
            return Some(if patched { (409, conflict()) } else { (404, missing()) });
        }
        if patched {
            let written: Value = serde_json::from_str(&asked.body).unwrap();
            let version = stored["metadata"]["resourceVersion"].clone();
            if written["metadata"]["resourceVersion"] != version {
                return Some((409, conflict()));
            }
            let next = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
            stored["status"] = written["status"].clone();
            stored["metadata"]["resourceVersion"] = json!(next.to_string());
        }
        let body = if asked.line.contains("/tikvclusters?") {
            json!({
                "apiVersion": "tikv.org/v1alpha1", "kind": "TikvClusterList", "metadata": {},
                "items": all,
            })
        } else {
            stored.clone()
        };
        Some((200, body.to_string()))
    })
    .await;
    let config = kube::Config::new(format!("http://{}", fake.address).parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let fence = Fence::new();
    fence.open(tokio::time::Instant::now() + Duration::from_mins(1));
    let kubernetes = Kubernetes::new(client, fence, Metrics::new());
    let accounts = Accounts::new(kubernetes.clone(), None);
    let egress = Egress { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
    let worker = Arc::new(Worker { kubernetes, accounts, egress });
    let (cache, tasks) = (Cache::new(), TaskCache::new());
    for resource in Resource::ALL {
        let bodies = if resource == Resource::Cluster { own.clone() } else { Vec::new() };
        cache.hear(resource, News::All(None, bodies));
    }
    tasks.all_tasks(&None, vec![task.clone()]);
    tasks.all_jobs(&None, &[]);
    let clusters = Clusters { cache, scopes: vec![None], selected: true };
    let (wakes, woken) = mpsc::unbounded_channel();
    let calls = Calls::new(Arc::clone(&worker), wakes);
    // The channel stays open for as long as the process lives.
    std::mem::forget(woken);
    let (specs, checks) = (Specs::default(), Checks::default());
    (TaskPass { tasks, clusters, worker, calls, specs, checks }, fake)
}

#[tokio::test]
async fn the_task_of_another_operator_s_cluster_is_left_alone() {
    let theirs = task(&json!({"cluster": "theirs"}));
    let all = vec![cluster("mine", &json!(null)), cluster("theirs", &json!(null))];
    let (of_theirs, fake) = pass(&theirs, all.clone(), vec![all[0].clone()]).await;
    assert!(matches!(of_theirs.run(&key()).await, Ended::Done(_)));
    assert_eq!(fake.changes(), [""; 0]);
    let (of_mine, fake) =
        pass(&task(&json!({"cluster": "mine"})), all.clone(), vec![all[0].clone()]).await;
    of_mine.run(&key()).await;
    assert!(!fake.changes().is_empty());
    // One that nobody has is gone, whoever says it.
    let (of_none, fake) =
        pass(&task(&json!({"cluster": "nowhere"})), all.clone(), Vec::new()).await;
    of_none.run(&key()).await;
    assert!(fake.changes().join("").contains("there is no TikvCluster nowhere"));
    let both = json!({"cluster": null, "clusterSelector": {"matchLabels": {"team": "a"}}});
    let (of_both, fake) = pass(&task(&both), all.clone(), vec![all[0].clone()]).await;
    of_both.run(&key()).await;
    assert!(fake.changes().join("").contains("more than one operator (mine, theirs)"));
}

#[tokio::test]
async fn a_cluster_that_cannot_be_read_is_not_gone_and_holds_up_no_other() {
    let odd = cluster("odd", &json!({"conditions": "odd"}));
    let all = vec![cluster("c", &json!(null)), odd];
    let task = task(&json!({"cluster": null, "clusterSelector": {"matchLabels": {"team": "a"}}}));
    let (mut pass, fake) = pass(&task, all.clone(), all).await;
    let world = pass.world(&key(), &task).unwrap();
    assert!(world.clusters_are_known && world.clusters.contains_key("c"));
    assert_eq!(world.unreadable, ["odd".to_owned()].into());
    pass.clusters.selected = false;
    pass.run(&key()).await;
    let written = stored(&fake);
    assert!(
        written.contains("ClusterUnreadable") && written.contains("TikvCluster odd"),
        "{written}"
    );
    let Ended::Quiet(wake) = pass.run(&key()).await else { panic!("nothing more") };
    assert!(wake > UNFILLED, "not one pass each second: {wake:?}");
}

#[tokio::test]
async fn the_world_is_that_of_the_task_as_it_is_now() {
    let all = vec![cluster("c", &json!(null)), cluster("d", &json!(null))];
    let mut cached = task(&json!({"cluster": "c"}));
    cached["metadata"]["generation"] = json!(0);
    cached["metadata"]["resourceVersion"] = json!("5");
    let (mut pass, fake) = pass(&task(&json!({"cluster": "d"})), all.clone(), all).await;
    pass.clusters.selected = false;
    pass.tasks.seen(&None, super::super::cache::Seen::NotInstalled);
    pass.tasks.all_tasks(&None, vec![cached]);
    pass.run(&key()).await;
    // The server refuses what was planned on an earlier version, for the write names it.
    let refused = stored(&fake);
    assert!(refused.contains(r#""resourceVersion":"5""#), "{refused}");
    pass.run(&key()).await;
    let written = stored(&fake);
    assert!(written.contains(r#""name":"d""#) && !written.contains(r#""name":"c""#), "{written}");
}

/// The status that was written last, where the write was on the present version.
fn stored(fake: &Fake) -> String {
    fake.changes().last().cloned().unwrap_or_default()
}

/// A receiver that takes calls when it is told to, and the task that calls it once.
struct Hook {
    receiver: tokio::net::TcpListener,
    spec: Value,
}

impl Hook {
    async fn listen() -> Self {
        let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", receiver.local_addr().unwrap());
        let spec = json!({
            "cluster": "c", "events": null, "immediately": true,
            "run": {"job": null, "http": {"url": url}},
        });
        Self { receiver, spec }
    }

    /// Answers the call that goes on, and waits until the operator has the answer.
    async fn answer(&self, pass: &TaskPass) {
        let (mut called, _) = self.receiver.accept().await.unwrap();
        let mut request = vec![0; 4096];
        assert!(called.read(&mut request).await.unwrap() > 0);
        called.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        while pass.calls.take(&key()).answers().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_receiver_that_takes_its_time_holds_up_no_pass_and_is_called_once() {
    let hook = Hook::listen().await;
    let all = vec![cluster("c", &json!(null))];
    let (pass, fake) = pass(&task(&hook.spec), all.clone(), all).await;
    let start = std::time::Instant::now();
    for _ in 0..3 {
        assert!(matches!(pass.run(&key()).await, Ended::Done(_)));
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    hook.answer(&pass).await;
    let again = tokio::time::timeout(Duration::from_millis(300), hook.receiver.accept()).await;
    assert!(again.is_err(), "one call went on");
    pass.run(&key()).await;
    assert!(stored(&fake).contains("Succeeded"), "{:?}", fake.changes());
}

/// What was done is done, whatever the task says by then.
#[tokio::test]
async fn an_answer_is_recorded_though_the_spec_is_not_valid_any_more() {
    let hook = Hook::listen().await;
    let all = vec![cluster("c", &json!(null))];
    let (pass, fake) = pass(&task(&hook.spec), all.clone(), all).await;
    pass.run(&key()).await;
    hook.answer(&pass).await;
    let mut edited = (*pass.tasks.task(&key()).unwrap()).clone();
    edited["metadata"]["generation"] = json!(2);
    edited["spec"]["when"] = json!("event.type ==");
    pass.tasks.set_task(edited, false);
    pass.run(&key()).await;
    let written = stored(&fake);
    assert!(written.contains("InvalidSpec") && written.contains("Succeeded"), "{written}");
}

/// Whatever becomes of the spec, a run whose time is over takes its Job along.
#[tokio::test]
async fn a_job_goes_with_its_run_though_the_spec_is_not_valid_any_more() {
    let all = vec![cluster("c", &json!(null))];
    let mut bad = task(&json!({"cluster": "c", "when": "event.type =="}));
    let long_ago = "2026-11-22T12:00:00Z";
    bad["status"] = json!({"runs": [{
        "key": "k", "cluster": "c", "since": long_ago, "outcome": "Running", "started": long_ago,
        "deadline": long_ago, "attempts": 1, "job": "t-k", "jobMade": true,
    }]});
    let (pass, fake) = pass(&bad, all.clone(), all).await;
    let metadata = json!({
        "name": "t-k", "namespace": "ns", "uid": "of-the-job",
        "labels": {"tikv.org/task": "t", "tikv.org/task-run": "k"},
        "ownerReferences": [{"uid": "u", "controller": true}],
    });
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata});
    pass.tasks.set_job(&job, false);
    pass.run(&key()).await;
    while pass
        .calls
        .take(&key())
        .is_going(&TaskStep::DeleteJob { name: "t-k".into(), uid: Uid("of-the-job".into()) })
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let changes = fake.changes();
    assert!(changes[0].contains("its time is over"), "{changes:?}");
    assert!(changes[1].starts_with("DELETE") && changes[1].contains("jobs/t-k"), "{changes:?}");
}

#[tokio::test]
async fn an_answer_that_could_not_be_persisted_is_heard_again() {
    let hook = Hook::listen().await;
    let all = vec![cluster("c", &json!(null))];
    let (pass, fake) = pass(&task(&hook.spec), all.clone(), all).await;
    pass.run(&key()).await;
    hook.answer(&pass).await;
    // Somebody else wrote the task, and the watch has not told of it.
    let mut known = (*pass.tasks.task(&key()).unwrap()).clone();
    known["metadata"]["resourceVersion"] = json!("1");
    pass.tasks.seen(&None, super::super::cache::Seen::NotInstalled);
    pass.tasks.set_task(known, false);
    pass.run(&key()).await;
    assert_eq!(pass.calls.take(&key()).answers().len(), 1);
    pass.run(&key()).await;
    assert!(stored(&fake).contains("Succeeded"), "{:?}", fake.changes());
}

/// Otherwise it is asked for again and again until the watch tells of its end.
#[tokio::test]
async fn a_task_that_the_api_server_does_not_have_is_forgotten() {
    let all = vec![cluster("c", &json!(null))];
    let mut gone = task(&json!({"cluster": "c"}));
    gone["gone"] = json!(true);
    let (mut pass, fake) = pass(&gone, all.clone(), all).await;
    pass.clusters.selected = false;
    assert!(matches!(pass.run(&key()).await, Ended::Done(Duration::ZERO)));
    assert!(matches!(pass.run(&key()).await, Ended::Gone));
    assert_eq!(fake.asked().len(), 2, "one write and one read");
}

/// A look that is stale takes no step: what it would do may be done.
#[tokio::test]
async fn a_step_that_needs_no_write_is_begun_on_the_present_version_only() {
    let hook = Hook::listen().await;
    let all = vec![cluster("c", &json!(null))];
    let (first, fake) = pass(&task(&hook.spec), all.clone(), all.clone()).await;
    first.run(&key()).await;
    hook.answer(&first).await;
    let begun = (*first.tasks.task(&key()).unwrap()).clone();
    first.run(&key()).await;
    let last = stored(&fake);
    let ended: Value = serde_json::from_str(&last[last.find('{').unwrap()..]).unwrap();
    // Another replica took over, and its watch is at the moment before the end.
    let mut live = begun.clone();
    live["status"] = ended["status"].clone();
    live["metadata"]["resourceVersion"] = json!("9");
    let (second, _fake) = pass(&live, all.clone(), all).await;
    second.tasks.seen(&None, super::super::cache::Seen::NotInstalled);
    second.tasks.set_task(begun, false);
    for _ in 0..2 {
        second.run(&key()).await;
    }
    let again = tokio::time::timeout(Duration::from_millis(300), hook.receiver.accept()).await;
    assert!(again.is_err(), "it had ended");
}

/// Each call is time until the Job is there, and load for the API server on top of it.
#[tokio::test]
async fn an_event_costs_one_write_before_its_job_and_one_after_it() {
    let quiet = cluster("c", &json!(null));
    let watched = task(&json!({"cluster": "c", "events": ["NodeCordoned"]}));
    let (mut pass, fake) = pass(&watched, Vec::new(), vec![quiet]).await;
    pass.clusters.selected = false;
    assert!(matches!(pass.run(&key()).await, Ended::Done(_)), "the first look");
    assert!(matches!(pass.run(&key()).await, Ended::Quiet(_)));
    let first = fake.asked().len();
    let cordoned = cluster("c", &json!({"cordonedNodes": ["n1"]}));
    pass.clusters.cache.hear(Resource::Cluster, News::All(None, vec![cordoned]));
    pass.run(&key()).await;
    while pass.calls.take(&key()).answers().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let made = fake.asked().into_iter().find(|asked| asked.line.starts_with("POST")).unwrap();
    let mut job: Value = serde_json::from_str(&made.body).unwrap();
    job["metadata"]["uid"] = json!("of-the-job");
    pass.tasks.set_job(&job, false);
    pass.run(&key()).await;
    assert!(matches!(pass.run(&key()).await, Ended::Quiet(_)), "and nothing more");
    let verb = |asked: &crate::fake::Asked| asked.line.split(' ').next().unwrap().to_owned();
    let verbs: Vec<String> = fake.asked()[first..].iter().map(verb).collect();
    assert_eq!(verbs, ["PATCH", "POST", "PATCH"]);
}
