//! What does a member answer about itself? Health, status, version and configuration.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::{Answer, Ask};
use crate::pd::clock;
use crate::pd::etcd::EtcdError;
use crate::pd::server::{GIT_HASH, Server};
use crate::pd::settings::Settings;

/// Longest wait for another member's `/ping`.
const PING_LIMIT: Duration = Duration::from_secs(3);

/// Longest wait of etcd's own health check.
const QUORUM_LIMIT: Duration = Duration::from_secs(5);

/// Answers what any member can say of itself; `None` for everything else.
pub(super) async fn answer(server: &Arc<Server>, ask: &Ask, route: &[&str]) -> Option<Answer> {
    let version = server.options.version.to_string();
    match (&ask.method, route) {
        (&Method::GET, ["ping"]) => Some(Answer::empty(StatusCode::OK)),
        (&Method::GET, ["health"]) => Some(health(server).await),
        (&Method::GET, ["status"]) => Some(Answer::json(&json!({
            "build_ts": clock::rfc3339(0).replace(['T', 'Z'], " ").trim(),
            "version": version,
            "git_hash": GIT_HASH,
            "start_timestamp": server.started,
        }))),
        (&Method::GET, ["version"]) => Some(Answer::json(&json!({
            "version": version, "build_time": "", "hash": "", "branch": "",
        }))),
        (&Method::GET, ["config", rest @ ..]) => match (settings(server).await, rest) {
            (Err(text), _) => {
                Some(Answer::json_with(StatusCode::INTERNAL_SERVER_ERROR, &text.into()))
            }
            (Ok(settings), []) => Some(match settings.full(&server.options) {
                Ok(tree) => Answer::json(&tree),
                Err(text) => Answer::json_with(StatusCode::INTERNAL_SERVER_ERROR, &text.into()),
            }),
            (Ok(settings), [section]) => settings.section(section).map(Answer::json),
            (Ok(_), _) => None,
        },
        _ => None,
    }
}

/// The settings in force: the leader's own, or what it persisted.
async fn settings(server: &Server) -> Result<Settings, String> {
    if let Some(lead) = server.lead().await.as_ref() {
        return Ok(lead.settings.clone());
    }
    let key = format!("{}config", server.prefix());
    let read = tokio::time::timeout(PING_LIMIT, server.etcd.get(&key)).await;
    let persisted = read.ok().and_then(Result::ok).flatten();
    let persisted = persisted.and_then(|bytes| Settings::decode(&bytes).ok());
    match persisted {
        Some(settings) => Ok(settings),
        None => Settings::from_options(&server.options),
    }
}

/// Every member that the own etcd lists, and whether its HTTP port answers: no more than that.
async fn health(server: &Server) -> Answer {
    let members = match server.local_members().await {
        Ok(members) => members,
        Err(EtcdError(text)) => {
            return Answer::json_with(StatusCode::SERVICE_UNAVAILABLE, &text.into());
        }
    };
    let mut shown: Vec<Value> = Vec::new();
    for member in members {
        let mut healthy = false;
        for url in &member.client_ur_ls {
            healthy = healthy || answers_ping(url).await;
        }
        let urls =
            if member.client_ur_ls.is_empty() { Value::Null } else { member.client_ur_ls.into() };
        shown.push(json!({
            "name": member.name, "member_id": member.id, "client_urls": urls, "health": healthy,
        }));
    }
    Answer::json(&shown.into())
}

async fn answers_ping(url: &str) -> bool {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let target = format!("{}/pd/api/v1/ping", url.trim_end_matches('/'));
    // Answered by the member itself in every version, so that a lost leader looks no worse.
    let request = Request::get(target).header(super::ALLOW_FOLLOWER, "true").body(Empty::new());
    let Ok(request) = request else { return false };
    let answered = tokio::time::timeout(PING_LIMIT, client.request(request)).await;
    matches!(answered, Ok(Ok(response)) if response.status() == StatusCode::OK)
}

/// etcd's own `/health`: the only one that needs a quorum.
pub(super) async fn etcd_health(server: &Server) -> Answer {
    let key = server.leader_key();
    let read = tokio::time::timeout(QUORUM_LIMIT, server.etcd.get(&key)).await;
    let (status, body) = match read {
        Ok(Ok(_)) => (StatusCode::OK, r#"{"health":"true","reason":""}"#),
        Ok(Err(_)) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"health":"false","reason":"RAFT NO LEADER"}"#)
        }
    };
    Answer::typed(status, super::TEXT, body)
}
