//! Which Job does a run get?

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tikv_operator_api::labels;
use tikv_operator_api::v1alpha1::{RunKey, RunStatus};

use super::body::cloud_event;
use super::spec::{Compact, Task, Work};
use super::world::ClusterView;

/// Label on Jobs and their pods: the task.
pub const TASK_LABEL: &str = "tikv.org/task";
/// Label on Jobs and their pods: the run's key.
pub const TASK_RUN_LABEL: &str = "tikv.org/task-run";
/// Annotation on pods of Jobs: the event, which is mounted as a file.
pub const EVENT_ANNOTATION: &str = "tikv.org/event";

const VOLUME: &str = "tikv-event";
const DIRECTORY: &str = "/etc/tikv-event";

/// The Job of a run: unique by its key, so that a second one cannot be made.
pub fn job_name(task: &str, key: &RunKey) -> String {
    format!("{task}-{key}")
}

/// The Job, complete; `None` where the cluster's image is to be used and not known.
pub(super) fn build(task: &Task, run: &RunStatus, view: &ClusterView) -> Option<Value> {
    let template = match &task.work {
        Work::Compact(compact) => compaction(compact, view)?,
        Work::Job(template) => template.clone(),
        Work::Http(_)
        | Work::Restart(_)
        | Work::Evict(_)
        | Work::Restore(_)
        | Work::Replace(_)
        | Work::ConfigSet { .. }
        | Work::Scale(_) => json!({}),
    };
    let mut spec = object(template.get("spec"));
    spec.entry("backoffLimit").or_insert(json!(task.backoff_limit));
    spec.entry("activeDeadlineSeconds").or_insert(json!(task.timeout.as_secs().max(1)));
    // Jobs are kept as long as their runs: nobody else deletes one before its end was seen.
    spec.shift_remove("ttlSecondsAfterFinished");
    let mut pod = object(spec.get("template"));
    let mut pod_spec = object(pod.get("spec"));
    pod_spec.entry("restartPolicy").or_insert(json!("Never"));
    if let Some(account) = &task.account {
        pod_spec.insert("serviceAccountName".to_owned(), json!(account));
    }
    mount_event(&mut pod_spec, &variables(task, run, view));
    let event = cloud_event(&task.namespace, &task.name, run).to_string();
    let metadata = metadata(pod.get("metadata"), task, run, &[(EVENT_ANNOTATION, &event)]);
    pod.insert("metadata".to_owned(), metadata);
    pod.insert("spec".to_owned(), Value::Object(pod_spec));
    spec.insert("template".to_owned(), Value::Object(pod));
    let mut metadata = metadata_of_job(&template, task, run);
    if let Some(fields) = metadata.as_object_mut() {
        fields.insert("name".to_owned(), json!(job_name(&task.name, &run.key)));
        fields.insert("namespace".to_owned(), json!(task.namespace));
        fields.insert(
            "ownerReferences".to_owned(),
            json!([{
                "apiVersion": "tikv.org/v1alpha1",
                "kind": "TikvTask",
                "name": task.name,
                "uid": task.uid.0,
                "controller": true,
                "blockOwnerDeletion": true,
            }]),
        );
    }
    Some(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}))
}

fn metadata_of_job(template: &Value, task: &Task, run: &RunStatus) -> Value {
    let mut metadata = metadata(template.get("metadata"), task, run, &[]);
    // The Job is the operator's. Its pods are not: that label selects the pods of clusters.
    if let Some(own) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        own.insert(labels::MANAGED_BY.to_owned(), json!(labels::MANAGER));
    }
    metadata
}

/// Labels and annotations of the user with ours.
fn metadata(
    user: Option<&Value>,
    task: &Task,
    run: &RunStatus,
    annotations: &[(&str, &str)],
) -> Value {
    let mut own = Map::new();
    let mut label = object(user.and_then(|user| user.get("labels")));
    for (key, value) in [(TASK_LABEL, task.name.as_str()), (TASK_RUN_LABEL, run.key.as_str())] {
        label.insert(key.to_owned(), json!(value));
    }
    let mut annotation = object(user.and_then(|user| user.get("annotations")));
    for (key, value) in annotations {
        annotation.insert((*key).to_owned(), json!(value));
    }
    own.insert("labels".to_owned(), Value::Object(label));
    if !annotation.is_empty() {
        own.insert("annotations".to_owned(), Value::Object(annotation));
    }
    Value::Object(own)
}

/// What the event's words are in variables.
fn variables(task: &Task, run: &RunStatus, view: &ClusterView) -> BTreeMap<&'static str, String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    BTreeMap::from([
        ("TIKV_EVENT", run.event.map_or("", |event| event.as_str()).to_owned()),
        ("TIKV_EVENT_KEY", run.key.to_string()),
        ("TIKV_CLUSTER", view.name.clone()),
        ("TIKV_NAMESPACE", task.namespace.clone()),
        ("TIKV_SUBJECT", text(&run.subject)),
        ("TIKV_POD", text(&run.pod)),
        ("TIKV_PERCENT", run.percent.map(|percent| percent.to_string()).unwrap_or_default()),
        ("TIKV_PD", view.pd_address.clone()),
    ])
}

/// Every container gets the variables and the file.
fn mount_event(pod: &mut Map<String, Value>, variables: &BTreeMap<&'static str, String>) {
    let volume = json!({"name": VOLUME, "downwardAPI": {"items": [{
        "path": "event.json",
        "fieldRef": {"fieldPath": format!("metadata.annotations['{EVENT_ANNOTATION}']")},
    }]}});
    push(pod, "volumes", volume);
    for list in ["initContainers", "containers"] {
        let containers = pod.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            push(
                container,
                "volumeMounts",
                json!({
                    "name": VOLUME, "mountPath": DIRECTORY, "readOnly": true,
                }),
            );
            let env = container.entry("env").or_insert_with(|| json!([]));
            if let Some(env) = env.as_array_mut() {
                let ours = |v: &Value| {
                    let name = v.get("name").and_then(Value::as_str);
                    name.is_some_and(|name| variables.contains_key(name))
                };
                env.retain(|variable| !ours(variable));
                let ours =
                    variables.iter().map(|(name, value)| json!({"name": name, "value": value}));
                // Before the user's, which may refer to them.
                env.splice(0..0, ours);
            }
        }
    }
}

fn push(object: &mut Map<String, Value>, list: &str, element: Value) {
    let list = object.entry(list).or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.push(element);
    }
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Column families of TiKV. `tikv-ctl` compacts one at a time, and most garbage of transactions is in
/// `write`.
const COLUMN_FAMILIES: [&str; 3] = ["default", "write", "lock"];

/// A Job that has every store compact its data: one run of `tikv-ctl` for the whole cluster and each
/// column family, one after the other. Its pod can run where the cluster's pods can.
fn compaction(compact: &Compact, view: &ClusterView) -> Option<Value> {
    let settings = view.tikv_image.as_ref();
    let image = compact.image.as_ref().or(settings.map(|settings| &settings.image))?;
    let bottommost = if compact.bottommost { "force" } else { "default" };
    let mut runs: Vec<Value> = COLUMN_FAMILIES
        .iter()
        .map(|family| {
            json!({
                "name": format!("compact-{family}"),
                "image": image,
                "imagePullPolicy": settings.map(|settings| settings.pull_policy),
                "command": ["/tikv-ctl"],
                "args": [
                    "--pd", view.pd_address, "compact-cluster", "-d", "kv", "-c", family, "-b",
                    bottommost, "-n", compact.threads.to_string(),
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            })
        })
        .collect();
    // The last one is the Job's own container: the others have ended when it starts.
    let last: Vec<Value> = runs.pop().into_iter().collect();
    let secrets = settings.iter().flat_map(|settings| &settings.pull_secrets);
    let secrets: Vec<Value> = secrets.map(|name| json!({"name": name})).collect();
    Some(json!({"spec": {"template": {"spec": {
        "imagePullSecrets": secrets,
        "tolerations": settings.map(|settings| &settings.tolerations),
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": runs,
        "containers": last,
    }}}}))
}
