//! What does one need to see when a case fails?

use serde_json::Value;

use crate::cluster::{by_name, summary, text};
use crate::scene::Scene;

/// Prints status, pods, events and logs of the namespaces of the run, and the operator's log.
pub(crate) fn diagnose(scene: &Scene) {
    for namespace in scene.namespaces() {
        println!("--- namespace {namespace}");
        clusters(scene, &namespace);
        tasks(scene, &namespace);
        pods(scene, &namespace);
        events(scene, &namespace);
    }
    println!("--- operator, last lines");
    match scene.operator.log(60) {
        Ok(log) => println!("{log}"),
        Err(e) => println!("no log: {e:#}"),
    }
}

fn items(scene: &Scene, path: &str) -> Vec<Value> {
    scene.kube.list(path).unwrap_or_else(|e| {
        println!("cannot list {path}: {e:#}");
        Vec::new()
    })
}

fn clusters(scene: &Scene, namespace: &str) {
    for (name, object) in by_name(items(scene, &crate::cluster::collection(namespace))) {
        println!("{name}: {}", summary(&object));
        println!("{}", object.get("status").cloned().unwrap_or_default());
    }
}

fn tasks(scene: &Scene, namespace: &str) {
    for (name, object) in by_name(items(scene, &crate::task::collection(namespace))) {
        println!("task {name}: {}", summary(&object));
        println!("{}", object.get("status").cloned().unwrap_or_default());
    }
}

fn pods(scene: &Scene, namespace: &str) {
    let core = format!("/api/v1/namespaces/{namespace}/pods");
    for (name, pod) in by_name(items(scene, &core)) {
        println!(
            "pod {name} on {}: {} {}",
            text(&pod, "/spec/nodeName").unwrap_or("no node"),
            text(&pod, "/status/phase").unwrap_or("?"),
            pod.pointer("/status/containerStatuses/0/state").cloned().unwrap_or_default(),
        );
        for which in ["previous=true&", ""] {
            if let Ok(log) = scene.kube.text(&format!("{core}/{name}/log?{which}tailLines=15")) {
                println!("{log}");
            }
        }
    }
}

fn events(scene: &Scene, namespace: &str) {
    let all = items(scene, &format!("/api/v1/namespaces/{namespace}/events"));
    let skip = all.len().saturating_sub(40);
    for event in all.iter().skip(skip) {
        println!(
            "event {} {}: {}",
            text(event, "/involvedObject/name").unwrap_or("?"),
            text(event, "/reason").unwrap_or("?"),
            text(event, "/message").unwrap_or("?"),
        );
    }
}
