//! What is there to do next?

use tikv_operator_api::names;
use tikv_operator_api::v1alpha1::TikvClusterStatus;
use tikv_operator_core::facts::Belongings;

use super::condition;
use crate::input::Found;

/// Sentences for the user, the most urgent first. Never empty.
pub(super) fn next(
    found: &Found,
    status: &TikvClusterStatus,
    belongings: &Belongings,
) -> Vec<String> {
    let mut next = Vec::new();
    let holds = |kind: &str| condition(status, kind).is_some_and(|c| c.status == "True");
    let name = found.name();
    let in_namespace = format!("-n {}", found.namespace());
    if status.observed_generation.is_none() {
        next.push(
            "No status was written yet. Does the operator run? \
             kubectl get deployments -A -l app.kubernetes.io/name=tikv-operator"
                .to_owned(),
        );
    }
    if found.resource.metadata.deletion_timestamp.is_some() {
        next.push("The cluster is being deleted; nothing is to be done.".to_owned());
        return next;
    }
    for (slot, pod) in &belongings.pods {
        if let Some(trouble) = &pod.trouble {
            let pod = slot.pod_name(name);
            next.push(format!("{pod}: {trouble}. kubectl describe pod {pod} {in_namespace}"));
        }
    }
    if holds("Degraded") {
        next.push(format!("Someone has to act. kubectl tikv why {name} {in_namespace}"));
    }
    if holds("Paused") {
        next.push(format!(
            "Paused: nothing is done until spec.paused is false. kubectl patch tikvcluster {name} \
             {in_namespace} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"
        ));
    }
    if holds("Ready") {
        next.push(format!(
            "Clients reach the cluster through PD at {}.{}.svc:{}.",
            names::pd_service(name),
            found.namespace(),
            names::PD_CLIENT_PORT,
        ));
    }
    if next.is_empty() {
        next.push(format!(
            "Wait: kubectl wait tikvcluster/{name} {in_namespace} --for=condition=Ready \
             --timeout=5m"
        ));
    }
    next
}
