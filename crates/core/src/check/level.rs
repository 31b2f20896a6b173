//! What can be wrong within one level of settings, cluster-wide or a component's?

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tikv_operator_api::names::{Component, RESERVED_VOLUMES};
use tikv_operator_api::v1alpha1::{PodSettings, Raw};

use super::problems::Problems;
use super::volumes::hides_ours;
use super::{keys, overlay, shapes};

/// Checks the settings at `path` (`spec`, `spec.pd`, `spec.tikv`).
pub(super) fn check(settings: &PodSettings, path: &str, problems: &mut Problems) {
    keys::labels(&settings.labels, &format!("{path}.labels"), problems);
    keys::annotations(&settings.annotations, &format!("{path}.annotations"), problems);
    keys::selectors(&settings.node_selector, &format!("{path}.nodeSelector"), problems);
    environment(settings, path, problems);
    containers(settings, path, problems);
    mounts(settings, path, problems);
    placement(settings, path, problems);
    if let Some(template) = &settings.pod_template {
        overlay::check(template, &format!("{path}.podTemplate"), problems);
    }
    shapes::check(settings, path, problems);
}

/// The entries of a list with their paths.
fn entries<'a>(
    list: Option<&'a Vec<Raw>>,
    path: &str,
    name: &str,
) -> impl Iterator<Item = (String, &'a Value)> {
    let path = format!("{path}.{name}");
    let list = list.into_iter().flatten().enumerate();
    list.map(move |(index, raw)| (format!("{path}[{index}]"), &raw.0))
}

fn name_of(entry: &Value) -> &str {
    entry.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn environment(settings: &PodSettings, path: &str, problems: &mut Problems) {
    for (at, variable) in entries(settings.env.as_ref(), path, "env") {
        let name = name_of(variable);
        if name == "TZ" {
            problems.broken(format!("{at}.name"), "env-reserved");
        } else if name.contains('=') {
            problems.reject(format!("{at}.name"), "A variable's name has no =. Correct it.");
        }
        if variable.get("value").is_some_and(|value| !value.is_string()) {
            problems.reject(format!("{at}.value"), "Must be a string. Quote it.");
        }
    }
    for (at, source) in entries(settings.env_from.as_ref(), path, "envFrom") {
        if source.get("configMapRef").is_none() && source.get("secretRef").is_none() {
            problems.reject(at, "Has neither configMapRef nor secretRef. Set one or remove it.");
        }
    }
}

fn containers(settings: &PodSettings, path: &str, problems: &mut Problems) {
    let init = entries(settings.init_containers.as_ref(), path, "initContainers");
    let next = entries(settings.additional_containers.as_ref(), path, "additionalContainers");
    let mut names = BTreeSet::new();
    for (at, container) in init.chain(next) {
        let name = name_of(container);
        let field = format!("{at}.name");
        if Component::ALL.iter().any(|component| component.as_str() == name) {
            problems.broken(field, "container-names");
        } else if !keys::is_dns_label(name) {
            problems.reject(field, format!("Is {name:?}, which is not a DNS label (a-z, 0-9, -)."));
        } else if !names.insert(name) {
            problems.broken(field, "container-names-apart");
        }
        if container.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
            problems.reject(format!("{at}.image"), "Is required. Name the container's image.");
        }
    }
}

fn mounts(settings: &PodSettings, path: &str, problems: &mut Problems) {
    for (at, volume) in entries(settings.additional_volumes.as_ref(), path, "additionalVolumes") {
        let name = name_of(volume);
        if RESERVED_VOLUMES.contains(&name) {
            problems.broken(format!("{at}.name"), "volume-names");
        } else if !keys::is_dns_label(name) {
            let field = format!("{at}.name");
            problems.reject(field, format!("Is {name:?}, which is not a DNS label (a-z, 0-9, -)."));
        }
        if volume.as_object().is_none_or(|fields| fields.len() < 2) {
            problems.reject(at, "Has no source. Set one, such as configMap or emptyDir.");
        }
    }
    let mounts = settings.additional_volume_mounts.as_ref();
    for (at, mount) in entries(mounts, path, "additionalVolumeMounts") {
        let target = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
        if hides_ours(target) {
            problems.broken(format!("{at}.mountPath"), "mount-paths");
        } else if !target.starts_with('/') {
            problems.reject(format!("{at}.mountPath"), "Must be an absolute path.");
        }
        if name_of(mount).is_empty() {
            problems.reject(format!("{at}.name"), "Is required: the volume to mount.");
        }
    }
}

fn placement(settings: &PodSettings, path: &str, problems: &mut Problems) {
    for (at, toleration) in entries(settings.tolerations.as_ref(), path, "tolerations") {
        let text = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("key").is_empty() && text("operator") != "Exists" {
            problems.reject(at, "Has no key. Set one, or operator Exists to tolerate every taint.");
        }
    }
    let spread = settings.topology_spread_constraints.as_ref();
    for (at, constraint) in entries(spread, path, "topologySpreadConstraints") {
        if constraint.get("topologyKey").and_then(Value::as_str).is_none_or(str::is_empty) {
            let field = format!("{at}.topologyKey");
            problems.reject(field, "Is required, such as topology.kubernetes.io/zone.");
        }
    }
}

/// Reads a map of strings inside one of Kubernetes' own types.
pub(super) fn string_map(
    value: &Value,
    path: &str,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let Value::Object(fields) = value else {
        problems.reject(path, "Must be a map of strings.");
        return BTreeMap::new();
    };
    let mut map = BTreeMap::new();
    for (key, value) in fields {
        match value {
            Value::String(text) => {
                map.insert(key.clone(), text.clone());
            }
            // In a merge, null takes a key away.
            Value::Null => {
                map.insert(key.clone(), String::new());
            }
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                problems.reject(format!("{path}.{key}"), "Must be a string. Quote it.");
            }
        }
    }
    map
}
