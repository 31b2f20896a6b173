//! Tasks against a real API server: what is persisted, what is made, and as whom.
//!
//! Clusters are resources whose status the test writes itself: no operator looks after them here but
//! the loop over tasks (the clusters' spec is paused), so each change is an event of the test's.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kube::{
    Api, Client, Config,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tikv_operator::{
    grants::ACCOUNT_GRANTS,
    run::{Access, run},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};

use crate::{
    PATIENCE,
    operator::flags,
    server::{api, apply, clusters, role, server},
};

/// A namespace, an operator in it, and a cluster that it only looks at.
pub(crate) struct Stage {
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    pub(crate) config: Config,
    operator: Option<(JoinHandle<anyhow::Result<()>>, watch::Sender<bool>)>,
    lives: u32,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.crash();
    }
}

impl Stage {
    pub(crate) async fn new(name: &str) -> Self {
        let server = server().await;
        let namespace = server.namespace(name).await;
        let admin = server.admin();
        let (config, _) = server.operator();
        let mut stage = Self { admin, namespace, config, operator: None, lives: 0 };
        stage.start();
        stage.allow_accounts().await;
        apply(
            &stage.admin,
            &json!({
                "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
                "metadata": {"name": "c", "namespace": stage.namespace, "labels": {"team": "a"}},
                "spec": {"version": "v8.5.7", "paused": true, "tikv": {"replicas": 3}},
            }),
        )
        .await;
        stage
    }

    /// What `deploy/optional/task-accounts.yaml` gives, for every account of the namespace.
    async fn allow_accounts(&self) {
        let group = "rbac.authorization.k8s.io";
        let mut role = role("task-accounts", ACCOUNT_GRANTS, &[]);
        role["kind"] = json!("Role");
        role["metadata"]["namespace"] = json!(self.namespace);
        apply(&self.admin, &role).await;
        apply(
            &self.admin,
            &json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": "task-accounts", "namespace": self.namespace},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": "task-accounts"},
                "subjects": [{"kind": "Group", "name": "operators", "apiGroup": group}],
            }),
        )
        .await;
    }

    async fn forbid_accounts(&self) {
        let bindings =
            api(&self.admin, "rbac.authorization.k8s.io", "RoleBinding", &self.namespace);
        bindings.delete("task-accounts", &kube::api::DeleteParams::default()).await.unwrap();
    }

    fn start(&mut self) {
        self.lives += 1;
        // A lease of its own for each life: a crash keeps the one before for its whole time.
        let mut flags = flags(&self.namespace, &format!("life-{}", self.lives), "127.0.0.1:9");
        flags.task_http_allow = vec!["127.0.0.0/8".parse().unwrap()];
        let access = Access::new(self.config.clone()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { run(&flags, access, stopped).await });
        self.operator = Some((task, stop));
    }

    fn crash(&mut self) {
        if let Some((task, stop)) = self.operator.take() {
            task.abort();
            drop(stop);
        }
    }

    pub(crate) fn tasks(&self) -> Api<DynamicObject> {
        api(&self.admin, "tikv.org", "TikvTask", &self.namespace)
    }

    pub(crate) fn jobs(&self) -> Api<DynamicObject> {
        api(&self.admin, "batch", "Job", &self.namespace)
    }

    /// Creates a task with these fields over the least that one says.
    pub(crate) async fn task(&self, name: &str, fields: Value) {
        let mut spec = tikv_operator_api::cases::task_spec();
        for (key, value) in fields.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let body = json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        });
        let object = serde_json::from_value(body).unwrap();
        self.tasks().create(&PostParams::default(), &object).await.unwrap();
    }

    /// Waits until the task's status is as `done` says.
    pub(crate) async fn until(&self, name: &str, done: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let task = serde_json::to_value(self.tasks().get(name).await.unwrap()).unwrap();
            if done(&task["status"]) {
                return task["status"].clone();
            }
            assert!(start.elapsed() < PATIENCE, "still: {:#}", task["status"]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the task has looked at the cluster: from then on changes are events.
    pub(crate) async fn looked(&self, name: &str) {
        self.until(name, |status| status["clusters"][0]["uid"].is_string()).await;
    }

    /// These nodes are cordoned now, says the cluster's status.
    pub(crate) async fn cordon(&self, nodes: &[&str]) {
        let body = json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
            "metadata": {"name": "c"}, "status": {"cordonedNodes": nodes},
        });
        let params = PatchParams::default();
        clusters(&self.admin, &self.namespace)
            .patch_status("c", &params, &Patch::Merge(&body))
            .await
            .unwrap();
    }

    pub(crate) async fn account(&self, name: &str, rules: Value) {
        let namespace = &self.namespace;
        let metadata = json!({"name": name, "namespace": namespace});
        apply(
            &self.admin,
            &json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
            }),
        )
        .await;
        let group = "rbac.authorization.k8s.io";
        apply(&self.admin, &json!({
            "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": rules,
        }))
        .await;
        apply(
            &self.admin,
            &json!({
                "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }),
        )
        .await;
    }
}

pub(crate) fn outcome(status: &Value, run: usize) -> &str {
    status["runs"][run]["outcome"].as_str().unwrap_or_default()
}

/// A receiver of events that answers with these statuses, the last one again and again.
pub(crate) struct Receiver {
    pub(crate) address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub(crate) async fn run(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&heard);
        tokio::spawn(async move {
            for n in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let status = statuses.get(n).or(statuses.last()).unwrap();
                let mut text = String::new();
                let mut buffer = [0; 4096];
                while !text.contains("\"specversion\"") || !text.ends_with('}') {
                    let read = stream.read(&mut buffer).await.unwrap();
                    if read == 0 {
                        break;
                    }
                    text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
                all.lock().unwrap().push(text);
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, heard }
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_job_that_the_task_owns_and_its_end_the_runs() {
    let stage = Stage::new("task-job").await;
    stage.task("t", json!({"events": ["NodeCordoned"]})).await;
    stage.looked("t").await;
    let start = Instant::now();
    stage.cordon(&["n1"]).await;
    let status = stage.until("t", |status| outcome(status, 0) == "Running").await;
    println!("event to Job: {:?}", start.elapsed());
    let key = status["runs"][0]["key"].as_str().unwrap().to_owned();
    assert_eq!(status["active"], 1, "persisted before its Job is made");
    stage.until("t", |status| status["runs"][0]["jobMade"] == true).await;
    let job = stage.jobs().get(&format!("t-{key}")).await.unwrap();
    let owner = &job.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.controller), ("TikvTask", Some(true)));
    // What Kubernetes' Job controller would say.
    let done = json!({"status": {
        "startTime": "2026-11-22T12:00:00Z", "completionTime": "2026-11-22T12:00:01Z",
        "succeeded": 1, "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": "2026-11-22T12:00:01Z"},
            {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-22T12:00:01Z"},
        ],
    }});
    let (jobs, params) = (stage.jobs(), PatchParams::default());
    jobs.patch_status(&format!("t-{key}"), &params, &Patch::Merge(&done)).await.unwrap();
    let status = stage.until("t", |status| outcome(status, 0) == "Succeeded").await;
    assert_eq!((&status["active"], &status["lastOutcome"]), (&json!(0), &json!("Succeeded")));
    assert_eq!(stage.jobs().list(&ListParams::default()).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_operator_is_away_is_done_once_it_is_back() {
    let mut stage = Stage::new("task-crash").await;
    stage.task("t", json!({"events": ["NodeCordoned"], "concurrencyPolicy": "Allow"})).await;
    stage.looked("t").await;
    stage.crash();
    stage.cordon(&["n1"]).await;
    stage.start();
    stage.until("t", |status| outcome(status, 0) == "Running").await;
    // Crashes at any moment from the event on: no event is lost, none has two runs.
    for n in 0..8 {
        let nodes: Vec<String> = (0..n + 2).map(|n| format!("n{}", n + 1)).collect();
        stage.cordon(&nodes.iter().map(String::as_str).collect::<Vec<_>>()).await;
        tokio::time::sleep(Duration::from_millis(60 + 40 * n)).await;
        stage.crash();
        stage.start();
    }
    let status = stage
        .until("t", |status| {
            let runs = status["runs"].as_array().map_or(0, Vec::len);
            runs == 9 && (0..9).all(|run| status["runs"][run]["jobMade"] == true)
        })
        .await;
    let mut subjects: Vec<&str> = status["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["subject"].as_str().unwrap())
        .collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"]);
    let jobs = stage.jobs().list(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(jobs, 9, "one for each run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_gets_the_event_under_one_key_until_it_takes_it() {
    let stage = Stage::new("task-hook").await;
    let receiver = Receiver::run(&[503, 202]).await;
    stage.account("pager", json!([
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["token"]},
    ]))
    .await;
    apply(&stage.admin, &json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": stage.namespace},
        "stringData": {"token": "s3cret\n"},
    }))
    .await;
    let header = json!({
        "name": "Authorization", "prefix": "Bearer ",
        "secretKeyRef": {"name": "token", "key": "token"},
    });
    stage.task("t", json!({
        "events": ["NodeCordoned"], "serviceAccountName": "pager",
        "run": {"http": {"url": format!("http://{}/hook", receiver.address), "headersFrom": [header]}},
    }))
    .await;
    stage.looked("t").await;
    stage.cordon(&["n1"]).await;
    let status = stage.until("t", |status| outcome(status, 0) == "Succeeded").await;
    let key = status["runs"][0]["key"].as_str().unwrap();
    assert_eq!(status["runs"][0]["attempts"], 2);
    let heard = receiver.heard();
    assert_eq!(heard.len(), 2);
    for attempt in heard {
        assert!(attempt.contains(&format!("\"id\":\"{key}\"")), "{attempt}");
        assert!(attempt.to_lowercase().contains(&format!("idempotency-key: {key}")), "{attempt}");
        assert!(attempt.contains("Bearer s3cret\r\n"), "{attempt}");
        assert!(attempt.contains("org.tikv.cluster.NodeCordoned"), "{attempt}");
    }
    assert!(!status.to_string().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_is_done_with_the_rights_of_the_account_and_no_others() {
    let stage = Stage::new("task-verb").await;
    stage.account("weak", json!([])).await;
    let scale = |account: &str| {
        json!({
            "events": ["NodeCordoned"], "serviceAccountName": account, "backoffLimit": 0,
            "run": {"scale": {"by": 1}},
        })
    };
    stage.task("weak", scale("weak")).await;
    stage.task("absent", scale("nobody")).await;
    stage.looked("weak").await;
    stage.looked("absent").await;
    stage.cordon(&["n1"]).await;
    let status = stage.until("weak", |status| outcome(status, 0) == "Failed").await;
    let words = status["runs"][0]["message"].as_str().unwrap();
    assert!(words.contains("system:serviceaccount:task-verb:weak"), "{words}");
    assert!(words.contains("tikvclusters/scale"), "{words}");
    let condition = &status["conditions"][1];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("Failed"), &json!("True")));
    let status = stage.until("absent", |status| outcome(status, 0) == "Failed").await;
    let words = status["runs"][0]["message"].as_str().unwrap();
    assert!(words.contains("no service account nobody"), "{words}");
    let replicas = |cluster: DynamicObject| cluster.data["spec"]["tikv"]["replicas"].clone();
    let c = clusters(&stage.admin, &stage.namespace);
    assert_eq!(replicas(c.get("c").await.unwrap()), 3);
    stage.account("strong", json!([
        {"apiGroups": ["tikv.org"], "resources": ["tikvclusters/scale"], "verbs": ["get", "patch"]},
    ]))
    .await;
    stage.task("strong", scale("strong")).await;
    stage.looked("strong").await;
    stage.cordon(&["n1", "n2"]).await;
    stage.until("strong", |status| outcome(status, 0) == "Succeeded").await;
    assert_eq!(replicas(c.get("c").await.unwrap()), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_reach_the_pods_and_the_spec_of_their_own_cluster_only() {
    let stage = Stage::new("task-pods").await;
    stage.account("hands", json!([
        {"apiGroups": [""], "resources": ["pods", "persistentvolumeclaims"], "verbs": ["get", "patch"]},
        {"apiGroups": ["tikv.org"], "resources": ["tikvclusters"], "verbs": ["get", "patch"]},
    ]))
    .await;
    let pods = api(&stage.admin, "", "Pod", &stage.namespace);
    for (name, cluster) in [("c-tikv-0", "c"), ("d-tikv-0", "d")] {
        let container = json!({"name": "tikv", "image": "a", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}});
        apply(
            &stage.admin,
            &json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": stage.namespace,
                    "labels": {"tikv.org/cluster": cluster}},
                "spec": {"containers": [container]},
            }),
        )
        .await;
    }
    let claims = api(&stage.admin, "", "PersistentVolumeClaim", &stage.namespace);
    apply(&stage.admin, &json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "tikv-c-tikv-0", "namespace": stage.namespace,
            "labels": {"tikv.org/cluster": "c"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await;
    let verb = |run: Value| json!({"events": ["NodeCordoned"], "serviceAccountName": "hands", "backoffLimit": 0, "run": run});
    stage.task("evict", verb(json!({"evictLeaders": {"pods": ["c-tikv-0"]}}))).await;
    stage.task("foreign", verb(json!({"restart": {"pods": ["d-tikv-0"]}}))).await;
    let config = json!({"gc": {"max-write-bytes-per-sec": "1MB"}});
    stage.task("set", verb(json!({"configSet": {"component": "tikv", "config": config}}))).await;
    stage.task("replace", verb(json!({"storeReplace": {"pod": "c-tikv-0"}}))).await;
    for task in ["evict", "foreign", "set", "replace"] {
        stage.looked(task).await;
    }
    stage.cordon(&["n1"]).await;
    stage.until("evict", |status| outcome(status, 0) == "Succeeded").await;
    let annotation = |pod: DynamicObject, key: &str| {
        pod.metadata.annotations.and_then(|all| all.get(key).cloned())
    };
    let pod = pods.get("c-tikv-0").await.unwrap();
    assert_eq!(annotation(pod, "tikv.org/evict-leaders").as_deref(), Some("true"));
    stage.until("replace", |status| outcome(status, 0) == "Succeeded").await;
    let claim = claims.get("tikv-c-tikv-0").await.unwrap();
    assert_eq!(annotation(claim, "tikv.org/replace").as_deref(), Some("true"));
    let status = stage.until("foreign", |status| outcome(status, 0) == "Failed").await;
    assert!(status["runs"][0]["message"].as_str().unwrap().contains("no pod of cluster c"));
    assert_eq!(annotation(pods.get("d-tikv-0").await.unwrap(), "tikv.org/restart"), None);
    stage.until("set", |status| outcome(status, 0) == "Succeeded").await;
    let cluster = clusters(&stage.admin, &stage.namespace).get("c").await.unwrap();
    assert_eq!(cluster.data["spec"]["tikv"]["config"], config);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_role_for_accounts_a_verb_says_what_to_apply_and_jobs_work() {
    let stage = Stage::new("task-no-accounts").await;
    stage.forbid_accounts().await;
    let scale = json!([{
        "apiGroups": ["tikv.org"], "resources": ["tikvclusters/scale"], "verbs": ["patch"],
    }]);
    stage.account("hands", scale).await;
    stage
        .task(
            "verb",
            json!({
                "events": ["NodeCordoned"], "serviceAccountName": "hands",
                "run": {"scale": {"by": 1}},
            }),
        )
        .await;
    stage.task("job", json!({"events": ["NodeCordoned"]})).await;
    for task in ["verb", "job"] {
        stage.looked(task).await;
    }
    stage.cordon(&["n1"]).await;
    stage.until("job", |status| outcome(status, 0) == "Running").await;
    let status = stage.until("verb", |status| status["conditions"][0]["status"] == "False").await;
    let words = status["conditions"][0]["message"].as_str().unwrap();
    assert!(words.contains("deploy/optional/task-accounts.yaml"), "{words}");
    stage.allow_accounts().await;
    stage.until("verb", |status| outcome(status, 0) == "Succeeded").await;
}
