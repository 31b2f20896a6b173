//! What does API v2 answer? Readiness of a member, and the lock that maintenance work takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::json_v2;
use crate::pd::cluster::Cluster;
use crate::pd::server::Server;
use crate::port::{Answer, Ask, bare, typed};
use crate::units;
use crate::version::Feature;

/// Answers below `/pd/api/v2`.
pub(super) async fn answer(server: &Arc<Server>, ask: &Ask) -> Answer {
    let version = server.options.version;
    match (&ask.method, ask.route(3).as_slice()) {
        (&Method::GET, ["ready"]) if version.has(Feature::READY) => ready(server, ask).await,
        (_, ["maintenance", rest @ ..]) if version.has(Feature::MAINTENANCE) => {
            maintenance(server, ask, rest).await
        }
        _ => not_found(),
    }
}

fn not_found() -> Answer {
    typed(StatusCode::NOT_FOUND, "text/plain", "404 page not found")
}

/// Whether the member has the regions loaded. Through v8.5.7 that is not so before a store
/// bootstraps, so the answer is 500 then (trap 10). Says nothing about a quorum.
async fn ready(server: &Server, ask: &Ask) -> Answer {
    let loaded = match server.lead().await.as_ref() {
        Some(cluster) => cluster.bootstrapped_at.is_some(),
        None => server.bootstrapped.load(Ordering::SeqCst),
    };
    let status = if loaded { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    if ask.parameter("verbose").is_none() {
        return bare(status, "");
    }
    typed(status, super::JSON_V2, format!("{{\n    \"region_loaded\": {loaded}\n}}"))
}

async fn maintenance(server: &Arc<Server>, ask: &Ask, rest: &[&str]) -> Answer {
    let here = server.is_leader().await || ask.headers.contains_key(super::ALLOW_FOLLOWER);
    if !here && server.leader.borrow().is_some() {
        return super::pass_on(server, ask).await;
    }
    let mut guard = server.lead().await;
    let Some(cluster) = guard.as_mut() else {
        let text = json!("[PD:server:ErrLeaderNil]leader is nil");
        return json_v2(StatusCode::SERVICE_UNAVAILABLE, &text);
    };
    let answer = lock(cluster, ask, rest);
    match server.commit(&mut guard).await {
        Ok(()) => answer,
        Err(refusal) => json_v2(refusal.status, &refusal.message.into()),
    }
}

fn lock(cluster: &mut Cluster, ask: &Ask, rest: &[&str]) -> Answer {
    let said = |text: &str| json_v2(StatusCode::OK, &text.into());
    let conflict = |error: &str, task: &Value| {
        json_v2(StatusCode::CONFLICT, &json!({"error": error, "existing_task": task}))
    };
    let is = |task: &Value, key: &str, word: &str| task.get(key) == Some(&word.into());
    let task = cluster.maintenance.clone();
    match (ask.method.as_str(), rest, task) {
        ("GET", [], Some(task)) => json_v2(StatusCode::OK, &json!([task])),
        ("GET", [kind], Some(task)) if is(&task, "type", kind) => json_v2(StatusCode::OK, &task),
        ("PUT", [_, _], Some(task)) => {
            conflict("Another maintenance task is already running", &task)
        }
        ("PUT", [kind, id], None) => {
            cluster.maintenance = Some(json!({
                "type": kind,
                "id": id,
                "start_timestamp": units::now_nanos() / units::SECOND,
                "description": String::from_utf8_lossy(&ask.body),
            }));
            said("Maintenance task started successfully.")
        }
        ("DELETE", [kind, id], Some(task)) if is(&task, "type", kind) => {
            if !is(&task, "id", id) {
                return conflict("Task ID does not match the current task", &task);
            }
            cluster.maintenance = None;
            said("Maintenance task deleted successfully.")
        }
        ("GET", [], _) => json_v2(StatusCode::NOT_FOUND, &"No maintenance task is running".into()),
        ("GET", [_], _) | ("DELETE", [_, _], _) => {
            json_v2(StatusCode::NOT_FOUND, &"No maintenance task is running for this type".into())
        }
        _ => not_found(),
    }
}
