//! What may `podTemplate` not touch?
//!
//! It is merged over the built pod as raw JSON, so it could also change what the operator relies
//! on: identity, arguments, labels that Services select, mounts of the data. These are refused by
//! name; everything else passes.

use serde_json::{Map, Value};
use tikv_operator_api::names::{Component, RESERVED_VOLUMES};
use tikv_operator_api::v1alpha1::Raw;

use super::problems::Problems;
use super::volumes::hides_ours;
use super::{keys, level::string_map};

/// Keys of `spec` with the way out.
const SPEC: &[(&str, &str)] = &[
    ("hostname", "It is the member's identity."),
    ("subdomain", "It is the member's identity."),
    ("setHostnameAsFQDN", "It would change the member's identity."),
    ("hostnameOverride", "It would change the member's identity."),
    ("nodeName", "Use nodeSelector or affinity."),
    ("restartPolicy", "The servers restart in place."),
    ("hostNetwork", "Set hostNetwork instead."),
    ("ephemeralContainers", "They are added with kubectl debug."),
];

/// Keys of our own container with the way out.
const CONTAINER: &[(&str, &str)] = &[
    ("args", "The operator computes the arguments; settings go to config."),
    ("command", "The image's own entrypoint runs."),
    ("image", "Set baseImage and version instead."),
    ("ports", "Ports are fixed."),
    ("resources", "Set requests and limits instead."),
    ("workingDir", "It is the image's own."),
];

pub(super) fn check(template: &Raw, path: &str, problems: &mut Problems) {
    let Value::Object(template) = &template.0 else { return };
    for (key, value) in template {
        let field = format!("{path}.{key}");
        match key.as_str() {
            "metadata" => metadata(value, &field, problems),
            "spec" => spec(value, &field, problems),
            _ => problems.reject(field, "A pod template has metadata and spec only."),
        }
    }
}

fn metadata(value: &Value, path: &str, problems: &mut Problems) {
    let Some(fields) = object(value, path, problems) else { return };
    for (key, value) in fields {
        let field = format!("{path}.{key}");
        match key.as_str() {
            "labels" => keys::labels(&string_map(value, &field, problems), &field, problems),
            "annotations" => {
                keys::annotations(&string_map(value, &field, problems), &field, problems);
            }
            _ => problems.reject(field, "Only labels and annotations can be set. Remove it."),
        }
    }
}

fn spec(value: &Value, path: &str, problems: &mut Problems) {
    let Some(fields) = object(value, path, problems) else { return };
    for (key, value) in fields {
        let field = format!("{path}.{key}");
        if let Some((_, why)) = SPEC.iter().find(|(reserved, _)| reserved == key) {
            problems.reject(field, format!("{why} Remove it."));
            continue;
        }
        match key.as_str() {
            "containers" => each(value, &field, problems, container),
            "initContainers" => each(value, &field, problems, init_container),
            "volumes" => each(value, &field, problems, volume),
            // Merged by type, so that the operator's own gate stays.
            "readinessGates" => drop(entries(value, &field, problems)),
            _ => {}
        }
    }
}

/// Calls `check` with each entry of a list, which must have a name.
fn each(
    value: &Value,
    path: &str,
    problems: &mut Problems,
    check: fn(&Map<String, Value>, &str, &mut Problems),
) {
    for (path, fields) in entries(value, path, problems) {
        if fields.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            problems.reject(format!("{path}.name"), "Is required: entries are merged by name.");
        }
        check(fields, &path, problems);
    }
}

/// The entries of a list that the operator has entries in too, each with its path. What would wipe
/// the list is refused.
fn entries<'a>(
    value: &'a Value,
    path: &str,
    problems: &mut Problems,
) -> Vec<(String, &'a Map<String, Value>)> {
    let Value::Array(list) = value else {
        problems.reject(path, "Must be a list.");
        return Vec::new();
    };
    let paths = (0..).map(|index: usize| format!("{path}[{index}]"));
    let read = paths.zip(list).map(|(path, entry)| {
        let fields = object(entry, &path, problems);
        fields.map(|fields| (path, fields))
    });
    read.flatten().collect()
}

fn container(fields: &Map<String, Value>, path: &str, problems: &mut Problems) {
    let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
    if !Component::ALL.iter().any(|component| component.as_str() == name) {
        return;
    }
    for (key, value) in fields {
        let field = format!("{path}.{key}");
        if let Some((_, why)) = CONTAINER.iter().find(|(reserved, _)| reserved == key) {
            problems.reject(field, format!("{why} Remove it."));
        } else if key == "volumeMounts" {
            mounts(value, &field, problems);
        } else if key == "env" {
            env(value, &field, problems);
        }
    }
}

fn init_container(fields: &Map<String, Value>, path: &str, problems: &mut Problems) {
    let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
    if Component::ALL.iter().any(|component| component.as_str() == name) {
        problems.broken(format!("{path}.name"), "container-names");
    }
}

fn volume(fields: &Map<String, Value>, path: &str, problems: &mut Problems) {
    let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
    if RESERVED_VOLUMES.contains(&name) {
        problems.broken(format!("{path}.name"), "volume-names");
    }
}

fn mounts(value: &Value, path: &str, problems: &mut Problems) {
    for (path, mount) in entries(value, path, problems) {
        let target = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
        if hides_ours(target) {
            problems.broken(format!("{path}.mountPath"), "mount-paths");
        }
    }
}

fn env(value: &Value, path: &str, problems: &mut Problems) {
    for (path, variable) in entries(value, path, problems) {
        if variable.get("name").and_then(Value::as_str) == Some("TZ") {
            problems.broken(format!("{path}.name"), "env-reserved");
        }
    }
}

/// The fields of an object without merge directives, which would wipe what the operator built.
fn object<'a>(
    value: &'a Value,
    path: &str,
    problems: &mut Problems,
) -> Option<&'a Map<String, Value>> {
    let Value::Object(fields) = value else {
        problems.reject(path, "Must be an object.");
        return None;
    };
    for key in fields.keys().filter(|key| key.starts_with('$')) {
        problems
            .reject(format!("{path}.{key}"), "Would replace what the operator built. Remove it.");
    }
    Some(fields)
}
