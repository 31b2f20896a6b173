//! What can be wrong only once cluster-wide and component settings are merged?

use std::collections::BTreeSet;

use serde_json::Value;
use tikv_operator_api::v1alpha1::DnsPolicy;

use super::problems::Problems;
use crate::cluster::Component;

/// Checks a merged component; `path` is `spec.pd` or `spec.tikv`.
pub(super) fn check(component: &Component, path: &str, problems: &mut Problems) {
    if component.dns_policy == Some(DnsPolicy::None) && component.dns_config.is_none() {
        let field = format!("{path}.dnsPolicy");
        problems.reject(field, "None needs dnsConfig. Set dnsConfig or another policy.");
    }
    containers(component, path, problems);
    volumes(component, path, problems);
    requests(component, path, problems);
}

fn containers(component: &Component, path: &str, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for container in component.init_containers.iter().chain(&component.containers) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if !seen.insert(name) {
            problems.broken(format!("{path}.additionalContainers"), "container-names-apart");
        }
    }
}

fn volumes(component: &Component, path: &str, problems: &mut Problems) {
    let names: BTreeSet<&str> = component.volumes.iter().map(|v| v.name.as_str()).collect();
    for volume in &component.pod_volumes {
        let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
        if names.contains(name) {
            problems.reject(
                format!("{path}.additionalVolumes"),
                format!("{name:?} is also the name of a storageVolumes entry. Rename one."),
            );
        }
    }
    let paths: BTreeSet<&str> = component.volumes.iter().map(|v| v.mount_path.as_str()).collect();
    for mount in &component.mounts {
        let target = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
        if paths.contains(target.trim_end_matches('/')) {
            problems.reject(
                format!("{path}.additionalVolumeMounts"),
                format!("{target:?} is also the mountPath of a storageVolumes entry. Move one."),
            );
        }
    }
    let volumes: BTreeSet<&str> = component
        .pod_volumes
        .iter()
        .filter_map(|volume| volume.get("name").and_then(Value::as_str))
        .chain(names)
        .collect();
    let overlaid = component.overlays.iter().any(|o| o.pointer("/spec/volumes").is_some());
    for mount in &component.mounts {
        let name = mount.get("name").and_then(Value::as_str).unwrap_or_default();
        if !name.is_empty() && !volumes.contains(name) && !overlaid {
            problems.reject(
                format!("{path}.additionalVolumeMounts"),
                format!("There is no volume {name:?}. Add it to additionalVolumes."),
            );
        }
    }
}

fn requests(component: &Component, path: &str, problems: &mut Problems) {
    for (name, request) in &component.resources.requests {
        let limit = component.resources.limits.get(name);
        if limit.is_some_and(|limit| request.milli() > limit.milli()) {
            problems.broken(format!("{path}.requests.{name}"), "requests-within-limits");
        }
    }
}
