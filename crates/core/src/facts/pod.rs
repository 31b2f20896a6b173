//! What is a pod like?

use jiff::Timestamp;
use serde_json::Value;
use tikv_operator_api::labels;

use super::text::{self, list, text, time};
use crate::world::{Component, PodFacts, PodPhase, Revision};

/// Waiting reasons that are the ordinary course of a start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Facts about a pod whose main container runs `component`; `None` for what was never stored.
pub fn pod_facts(component: Component, body: &Value) -> Option<PodFacts> {
    let main = container(body, component);
    let null = Value::Null;
    let main = main.unwrap_or(&null);
    let restarts = main.pointer("/restartCount").and_then(Value::as_u64).unwrap_or_default();
    let annotations = text::texts(body, "/metadata/annotations");
    let containers_ready = condition(body, "ContainersReady") == Some(true);
    let ready = condition(body, "Ready") == Some(true);
    Some(PodFacts {
        uid: text::uid(body)?,
        revision: annotations.get(labels::REVISION).cloned().map(Revision),
        phase: phase(text(body, "/status/phase")),
        containers_ready,
        ready,
        store_up_gate: condition(body, labels::STORE_UP_GATE),
        has_run: ready || containers_ready || restarts > 0 || has_started(main),
        image: list(body, "/spec/containers")
            .find(|container| text(container, "/name") == Some(component.as_str()))
            .and_then(|container| text(container, "/image"))
            .map(str::to_owned),
        node: text(body, "/spec/nodeName").map(str::to_owned),
        created: time(body, "/metadata/creationTimestamp").unwrap_or(Timestamp::UNIX_EPOCH),
        started: time(main, "/state/running/startedAt"),
        restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
        deleting_since: time(body, "/metadata/deletionTimestamp"),
        trouble: trouble(body),
        config_map: config_map(body, component),
        serving: text::texts(body, "/metadata/labels")
            .get(labels::SERVING)
            .is_some_and(|v| v == "true"),
        annotations: annotations
            .into_iter()
            .filter(|(key, _)| key.starts_with(labels::PREFIX))
            .collect(),
    })
}

fn phase(text: Option<&str>) -> PodPhase {
    match text {
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some("Unknown") => PodPhase::Unknown,
        // A pod that nobody has looked at yet has no phase.
        _ => PodPhase::Pending,
    }
}

/// The status of the container that runs `component`; containers are called after it.
fn container(body: &Value, component: Component) -> Option<&Value> {
    list(body, "/status/containerStatuses")
        .find(|status| text(status, "/name") == Some(component.as_str()))
}

/// It has passed its startup probe, or has ended after running.
fn has_started(status: &Value) -> bool {
    status.pointer("/started").and_then(Value::as_bool) == Some(true)
        || status.pointer("/state/terminated").is_some()
        || status.pointer("/lastState/terminated").is_some()
}

/// A condition of the pod; `None` where it is not set or unknown.
fn condition(body: &Value, kind: &str) -> Option<bool> {
    let found = list(body, "/status/conditions").find(|c| text(c, "/type") == Some(kind))?;
    match text(found, "/status") {
        Some("True") => Some(true),
        Some("False") => Some(false),
        _ => None,
    }
}

/// Why the pod does not run, in Kubernetes' words.
fn trouble(body: &Value) -> Option<String> {
    unscheduled(body).or_else(|| stuck_container(body)).or_else(|| ended(body))
}

fn unscheduled(body: &Value) -> Option<String> {
    let scheduled = list(body, "/status/conditions").find(|c| {
        text(c, "/type") == Some("PodScheduled") && text(c, "/status") == Some("False")
    })?;
    Some(words(text(scheduled, "/reason").unwrap_or("Unschedulable"), text(scheduled, "/message")))
}

fn stuck_container(body: &Value) -> Option<String> {
    let statuses =
        list(body, "/status/initContainerStatuses").chain(list(body, "/status/containerStatuses"));
    statuses.into_iter().find_map(|status| {
        let reason = text(status, "/state/waiting/reason").filter(|r| !STARTING.contains(r))?;
        let name = text(status, "/name").unwrap_or("container");
        let waiting = words(&format!("{name}: {reason}"), text(status, "/state/waiting/message"));
        let ended = status.pointer("/lastState/terminated");
        Some(match ended.and_then(|end| end.get("exitCode")) {
            Some(code) => format!("{waiting} (last exit code {code})"),
            None => waiting,
        })
    })
}

fn ended(body: &Value) -> Option<String> {
    Some(words(text(body, "/status/reason")?, text(body, "/status/message")))
}

fn words(reason: &str, message: Option<&str>) -> String {
    message.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}"))
}

/// The `ConfigMap` that the main container sees as its configuration directory.
fn config_map(body: &Value, component: Component) -> Option<String> {
    let directory = format!("/etc/{component}");
    let main =
        list(body, "/spec/containers").find(|c| text(c, "/name") == Some(component.as_str()))?;
    let mount = list(main, "/volumeMounts")
        .find(|m| text(m, "/mountPath").is_some_and(|p| p.trim_end_matches('/') == directory))?;
    let volume = text(mount, "/name")?;
    let volume = list(body, "/spec/volumes").find(|v| text(v, "/name") == Some(volume))?;
    text(volume, "/configMap/name").map(str::to_owned)
}
