//! What does API v2 answer? Readiness of a member, and the lock that maintenance work takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Ask};
use crate::pd::clock;
use crate::pd::lead::Lead;
use crate::pd::server::Server;
use crate::pd::version::Feature;

/// Longest wait of a probe for a quorum.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Answers below `/pd/api/v2`.
pub(super) async fn answer(server: &Arc<Server>, ask: &Ask) -> Answer {
    let version = server.options.version;
    let route = ask.route(3);
    match (&ask.method, route.as_slice()) {
        (&Method::GET, ["ready"]) if version.has(Feature::Ready) => ready(server, ask).await,
        (&Method::GET, ["readyz" | "livez"]) if version.has(Feature::Probes) => {
            probe(server, ask, route == ["readyz"]).await
        }
        (_, ["maintenance", rest @ ..]) if version.has(Feature::Maintenance) => {
            maintenance(server, ask, rest).await
        }
        _ => Answer::typed(StatusCode::NOT_FOUND, "text/plain", "404 page not found"),
    }
}

/// Whether the member has the regions loaded. Through v8.5.7 that is not so before a store
/// bootstraps, so the answer is 500 then (trap 10). Says nothing about a quorum.
async fn ready(server: &Server, ask: &Ask) -> Answer {
    let loaded = match server.lead().await.as_ref() {
        Some(lead) => lead.cluster.is_some(),
        None => server.bootstrapped.load(Ordering::SeqCst),
    };
    let status = if loaded || server.options.version.has(Feature::Probes) {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    if ask.parameter("verbose").is_none() {
        return Answer::empty(status);
    }
    let body = format!("{{\n    \"region_loaded\": {loaded}\n}}");
    Answer::typed(status, super::JSON_V2, body)
}

async fn probe(server: &Server, ask: &Ask, with_quorum: bool) -> Answer {
    let key = server.leader_key();
    let read = tokio::time::timeout(PROBE_LIMIT, server.etcd.get(&key)).await;
    let local = server.etcd.members().await.is_ok();
    let mut checks = vec![("etcd-serializable-read", local)];
    if with_quorum {
        checks.push(("etcd-linearizable-read", matches!(read, Ok(Ok(_)))));
    }
    let excluded: Vec<&str> = ask.parameters("exclude").collect();
    checks.retain(|(name, _)| !excluded.contains(name));
    let failed = checks.iter().any(|(_, ok)| !ok);
    let line = |(name, ok): &(&str, bool)| match ok {
        true => format!("[+]{name} ok\n"),
        false => format!("[-]{name} failed\n"),
    };
    let lines: String = checks.iter().map(line).collect();
    if failed {
        return Answer::typed(StatusCode::SERVICE_UNAVAILABLE, super::TEXT, lines);
    }
    let body = if ask.parameter("verbose").is_some() { lines + "ok\n" } else { "ok".into() };
    Answer::typed(StatusCode::OK, super::TEXT, body)
}

async fn maintenance(server: &Arc<Server>, ask: &Ask, rest: &[&str]) -> Answer {
    if !server.is_leader().await && !ask.headers.contains_key(super::ALLOW_FOLLOWER) {
        if server.leader.borrow().is_none() {
            let text = json!("[PD:server:ErrLeaderNil]leader is nil");
            return Answer::json_v2(StatusCode::SERVICE_UNAVAILABLE, &text);
        }
        return super::proxy::pass_on(server, ask).await;
    }
    on_leader(server, ask, rest).await
}

/// The lock's answer on the member that leads.
pub(super) async fn on_leader(server: &Server, ask: &Ask, rest: &[&str]) -> Answer {
    let mut guard = server.lead().await;
    let Some(lead) = guard.as_mut() else {
        let text = json!("[PD:server:ErrLeaderNil]leader is nil");
        return Answer::json_v2(StatusCode::SERVICE_UNAVAILABLE, &text);
    };
    let answer = lock(lead, ask, rest);
    match server.commit(&mut guard).await {
        Ok(()) => answer,
        Err(refusal) => Answer::json_v2(refusal.status, &refusal.message.into()),
    }
}

fn lock(lead: &mut Lead, ask: &Ask, rest: &[&str]) -> Answer {
    let none = || Answer::json_v2(StatusCode::NOT_FOUND, &"No maintenance task is running".into());
    match (ask.method.as_str(), rest) {
        ("GET", []) => match &lead.maintenance {
            Some(task) => Answer::json_v2(StatusCode::OK, &json!([task])),
            None => none(),
        },
        ("GET", [kind]) => match &lead.maintenance {
            Some(task) if task["type"] == **kind => Answer::json_v2(StatusCode::OK, task),
            Some(_) | None => none(),
        },
        ("PUT", [kind, id]) => take(lead, ask, kind, id),
        ("DELETE", [kind, id]) => match &lead.maintenance {
            None => none(),
            Some(task) if task["type"] == **kind && task["id"] == **id => {
                lead.set_maintenance(None);
                let said = "Maintenance task deleted successfully.";
                Answer::json_v2(StatusCode::OK, &said.into())
            }
            Some(task) => conflict("Maintenance task does not match", task),
        },
        _ => Answer::typed(StatusCode::NOT_FOUND, "text/plain", "404 page not found"),
    }
}

fn take(lead: &mut Lead, ask: &Ask, kind: &str, id: &str) -> Answer {
    if let Some(task) = &lead.maintenance {
        return conflict("Another maintenance task is already running", task);
    }
    let description = String::from_utf8_lossy(&ask.body);
    lead.set_maintenance(Some(json!({
        "type": kind,
        "id": id,
        "start_timestamp": clock::now_nanos() / 1_000_000_000,
        "description": description,
    })));
    Answer::json_v2(StatusCode::OK, &"Maintenance task started successfully.".into())
}

fn conflict(error: &str, task: &Value) -> Answer {
    Answer::json_v2(StatusCode::CONFLICT, &json!({"error": error, "existing_task": task}))
}
