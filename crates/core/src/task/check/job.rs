//! Is a Job template one that the API server would take?

use k8s_openapi::api::batch::v1::JobTemplateSpec;
use serde::Deserialize;
use serde_json::Value;
use tikv_operator_api::labels;
use tikv_operator_api::v1alpha1::TikvTask;

use super::Problems;

const FIELD: &str = "spec.run.job.template";
/// The volume in which the event is mounted.
const VOLUME: &str = "tikv-event";

pub(super) fn check(task: &TikvTask, template: &Value, problems: &mut Problems) {
    if let Err(error) = JobTemplateSpec::deserialize(template) {
        let sentence = format!("Is not what Kubernetes expects here: {error}. Correct it.");
        problems.reject(FIELD, sentence);
        return;
    }
    let pod = "/spec/template/spec";
    let pod_field = format!("{FIELD}.spec.template.spec");
    let containers = template.pointer(&format!("{pod}/containers")).and_then(Value::as_array);
    if containers.is_none_or(Vec::is_empty) {
        problems
            .reject(format!("{pod_field}.containers"), "Is empty. Name at least one container.");
    }
    // The API server still takes the older name, too.
    for name in ["serviceAccountName", "serviceAccount"] {
        let account = template.pointer(&format!("{pod}/{name}")).and_then(Value::as_str);
        if account.is_some() && account != task.spec.service_account_name.as_deref() {
            problems.reject(
                format!("{pod_field}.{name}"),
                "Differs from spec.serviceAccountName, as which the work is done. Set that one, and \
                 remove this one.",
            );
        }
    }
    let volumes = template.pointer(&format!("{pod}/volumes")).and_then(Value::as_array);
    let taken = |volume: &Value| volume.get("name").and_then(Value::as_str) == Some(VOLUME);
    if volumes.into_iter().flatten().any(taken) {
        problems.reject(
            format!("{pod_field}.volumes"),
            format!("The volume name {VOLUME} is the operator's. Choose another name."),
        );
    }
    for (path, field) in [
        ("/metadata/labels", "metadata.labels"),
        ("/spec/template/metadata/labels", "spec.template.metadata.labels"),
    ] {
        let labels = template.pointer(path).and_then(Value::as_object);
        if let Some(key) =
            labels.into_iter().flatten().map(|(key, _)| key).find(|k| labels::is_reserved(k))
        {
            problems.reject(
                format!("{FIELD}.{field}"),
                format!("The label {key} is the operator's. Choose another key."),
            );
        }
    }
}
