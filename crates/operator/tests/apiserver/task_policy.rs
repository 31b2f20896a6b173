//! Does the optional policy ask authors of tasks for the rights that their tasks use?

use std::time::{Duration, Instant};

use kube::{
    Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    server::{api, apply},
    tasks::Stage,
};

/// A client that acts as this user.
fn acting_as(stage: &Stage, user: &str) -> Client {
    let mut config = stage.config.clone();
    config.auth_info.token = Some("admin-token".to_owned().into());
    config.auth_info.impersonate = Some(user.to_owned());
    Client::try_from(config).unwrap()
}

/// The author may do this from now on.
async fn may(stage: &Stage, group: &str, resource: &str, verb: &str) {
    let rbac = "rbac.authorization.k8s.io";
    let name = resource.replace('/', "-");
    let metadata = json!({"name": name, "namespace": stage.namespace});
    let role = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata,
        "rules": [{"apiGroups": [group], "resources": [resource], "verbs": [verb]}],
    });
    let binding = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
        "subjects": [{"kind": "User", "name": "author", "apiGroup": rbac}],
    });
    apply(&stage.admin, &role).await;
    apply(&stage.admin, &binding).await;
}

/// Would the author's task be created?
async fn created(stage: &Stage, run: &Value) -> Result<(), String> {
    let mut spec = tikv_operator_api::cases::task_spec();
    if !run.is_null() {
        spec["run"] = run.clone();
    }
    if spec["run"].pointer("/http").is_none_or(|http| http.get("tls").is_some()) {
        spec["serviceAccountName"] = json!("worker");
    }
    let body = json!({
        "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask",
        "metadata": {"name": "t", "namespace": stage.namespace}, "spec": spec,
    });
    let tasks = api(&acting_as(stage, "author"), "tikv.org", "TikvTask", &stage.namespace);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let made = tasks.create(&params, &serde_json::from_value(body).unwrap()).await;
    made.map(drop).map_err(|error| error.to_string())
}

/// The author may change tasks.
async fn may_patch(stage: &Stage) {
    let rbac = "rbac.authorization.k8s.io";
    let metadata = json!({"name": "changes", "namespace": stage.namespace});
    let role = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata,
        "rules": [{"apiGroups": ["tikv.org"], "resources": ["tikvtasks"], "verbs": ["get", "patch"]}],
    });
    let binding = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "changes"},
        "subjects": [{"kind": "User", "name": "author", "apiGroup": rbac}],
    });
    apply(&stage.admin, &role).await;
    apply(&stage.admin, &binding).await;
    let start = Instant::now();
    while let Err(words) = patched(stage, &json!({"suspend": true})).await {
        assert!(start.elapsed() < PATIENCE, "{words}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Would the author's change of the task `others` be taken?
async fn patched(stage: &Stage, spec: &Value) -> Result<(), String> {
    let tasks = api(&acting_as(stage, "author"), "tikv.org", "TikvTask", &stage.namespace);
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": spec }));
    let made = tasks.patch("others", &params, &patch).await;
    made.map(drop).map_err(|error| error.to_string())
}

/// A Job in the place of the verb.
fn job_run() -> Value {
    let mut run = tikv_operator_api::cases::task_spec()["run"].clone();
    run["scale"] = Value::Null;
    run
}

/// Tries until the answer is as `wanted` says: policies and roles are in force some time after they
/// were made.
async fn until(
    stage: &Stage,
    run: &Value,
    wanted: impl Fn(&Result<(), String>) -> bool,
) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let answer = created(stage, run).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The policy names each field that it asks about: a new one must not be forgotten.
#[test]
fn every_field_that_says_what_is_done_is_asked_about() {
    let policy = include_str!("../../../../deploy/optional/task-authors.yaml");
    let free = [
        "suspend",
        "successfulRunsHistoryLimit",
        "failedRunsHistoryLimit",
        "ttlSecondsAfterFinished",
    ];
    let crd = serde_json::to_value(tikv_operator_api::schema::task_crd()).unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let fields = crd.pointer(spec).unwrap().as_object().unwrap();
    for field in fields.keys().filter(|field| !free.contains(&field.as_str())) {
        let asked = [format!("object.spec.?{field} !="), format!("object.spec.{field} !=")];
        assert!(asked.iter().any(|asked| policy.contains(asked)), "{field}");
    }
    let verbs = crd.pointer(&format!("{spec}/run/properties")).unwrap().as_object().unwrap();
    for verb in verbs.keys() {
        assert!(policy.contains(&format!("has(variables.run.{verb})")), "{verb}");
    }
}

/// Verbs ask for the rights to what they change.
async fn verbs_are_asked_about(stage: &Stage) {
    let config = json!({"configSet": {"component": "tikv", "config": {"a": 1}}});
    for (run, word) in [
        (config, "patch tikvclusters"),
        (json!({"restart": {}}), "patch pods"),
        (json!({"storeReplace": {}}), "patch persistentvolumeclaims"),
    ] {
        let words = created(stage, &run).await.unwrap_err();
        assert!(words.contains(word), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authors_must_be_allowed_to_do_what_their_tasks_do() {
    let stage = Stage::new("task-policy").await;
    let policy = include_str!("../../../../deploy/optional/task-authors.yaml");
    for document in policy.split("\n---\n") {
        apply(&stage.admin, &serde_saphyr::from_str::<Value>(document).unwrap()).await;
    }
    may(&stage, "tikv.org", "tikvtasks", "create").await;
    let (job, scale) = (Value::Null, json!({"scale": {"by": 1}}));
    let by_policy = |answer: &Result<(), String>| {
        answer.as_ref().is_err_and(|words| words.contains("task-authors"))
    };
    let words = until(&stage, &job, by_policy).await.unwrap_err();
    assert!(words.contains("create jobs"), "{words}");
    assert!(created(&stage, &scale).await.is_err());
    let hook = json!({"http": {"url": "https://a.example.org/"}});
    assert_eq!(created(&stage, &hook).await, Ok(()));
    may(&stage, "batch", "jobs", "create").await;
    assert_eq!(until(&stage, &job, Result::is_ok).await, Ok(()));
    let words = created(&stage, &scale).await.unwrap_err();
    assert!(words.contains("tikvclusters/scale"), "{words}");
    let secret = json!({"http": {"url": "https://a.example.org/", "tls": {"secretName": "s"}}});
    let words = created(&stage, &secret).await.unwrap_err();
    assert!(words.contains("get the Secrets"), "{words}");
    // A task that somebody else made, and that does what the author may not do.
    let others = json!({
        "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask",
        "metadata": {"name": "others", "namespace": stage.namespace},
        "spec": {
            "cluster": "c", "events": ["StoreDown"], "serviceAccountName": "worker", "run": scale,
        },
    });
    apply(&stage.admin, &others).await;
    may_patch(&stage).await;
    for change in [
        json!({"cluster": "d"}),
        json!({"serviceAccountName": "other"}),
        json!({"events": null, "immediately": true}),
        json!({"events": null, "schedule": "* * * * *"}),
        json!({"when": "true"}),
        json!({"startingDeadlineSeconds": 60}),
        json!({"concurrencyPolicy": "Allow"}),
        json!({"run": {"scale": {"by": 2}}}),
    ] {
        let words = patched(&stage, &change).await.unwrap_err();
        assert!(words.contains("tikvclusters/scale"), "{change}: {words}");
    }
    assert_eq!(
        patched(&stage, &json!({"suspend": true, "successfulRunsHistoryLimit": 1})).await,
        Ok(())
    );
    let gate = json!({"gate": "before", "events": ["UpgradeStarting"], "run": job_run()});
    let words = patched(&stage, &gate).await.unwrap_err();
    assert!(words.contains("spec.gate"), "{words}");
    verbs_are_asked_about(&stage).await;
    may(&stage, "tikv.org", "tikvclusters/scale", "patch").await;
    assert_eq!(until(&stage, &scale, Result::is_ok).await, Ok(()));
}
