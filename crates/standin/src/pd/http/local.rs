//! What does a member answer about itself? Health, status, version and configuration.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tonic::Status;

use super::{Result, shown};
use crate::pd::lead::keys;
use crate::pd::refusal::Refusal;
use crate::pd::server::{GIT_HASH, Server};
use crate::pd::settings::Settings;
use crate::port::{self, Answer, Ask, bare, typed};

/// Longest wait for another member's `/ping`.
const PING_LIMIT: Duration = Duration::from_secs(3);

/// Longest wait of etcd's own health check.
const QUORUM_LIMIT: Duration = Duration::from_secs(5);

/// Answers what any member can say of itself; `None` for everything else.
pub(super) async fn answer(server: &Server, ask: &Ask, route: &[&str]) -> Option<Result> {
    let version = server.options.version.to_string();
    let refused = |error: anyhow::Error| Err(Refusal::internal(error.to_string()));
    Some(match (&ask.method, route) {
        (&Method::GET, ["ping"]) => Ok(bare(StatusCode::OK, "")),
        (&Method::GET, ["health"]) => health(server).await,
        (&Method::GET, ["status"]) => shown(&json!({
            "build_ts": "1970-01-01 00:00:00",
            "version": version,
            "git_hash": GIT_HASH,
            "start_timestamp": server.started,
        })),
        (&Method::GET, ["version"]) => shown(&json!({
            "version": version, "build_time": "", "hash": "", "branch": "",
        })),
        (&Method::GET, ["config"]) => match settings(server).await {
            Ok(settings) => settings.full(&server.options).map_or_else(refused, |all| shown(&all)),
            Err(error) => refused(error),
        },
        (&Method::GET, ["config", section]) => match settings(server).await {
            Ok(settings) => shown(settings.section(section)?),
            Err(error) => refused(error),
        },
        _ => return None,
    })
}

/// The settings in force: the leader's own, or what it persisted.
async fn settings(server: &Server) -> anyhow::Result<Settings> {
    if let Some(cluster) = server.lead().await.as_ref() {
        return Ok(cluster.settings.clone());
    }
    let key = format!("{}{}", server.prefix(), keys::CONFIG);
    let read = tokio::time::timeout(PING_LIMIT, server.etcd.get(&key)).await;
    let persisted = read.ok().and_then(std::result::Result::ok).flatten();
    let persisted = persisted.and_then(|bytes| Settings::decode(&bytes).ok());
    persisted.map_or_else(|| Settings::from_options(&server.options), Ok)
}

/// Every member that the own etcd lists, and whether its HTTP port answers: no more than that.
async fn health(server: &Server) -> Result {
    let unavailable =
        |status: Status| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, status.message());
    let mut list: Vec<Value> = Vec::new();
    for member in server.local_members().await.map_err(unavailable)? {
        let mut healthy = false;
        for url in &member.client_ur_ls {
            healthy = healthy || answers_ping(url).await;
        }
        let urls = Some(member.client_ur_ls).filter(|urls| !urls.is_empty());
        list.push(json!({
            "name": member.name, "member_id": member.id, "client_urls": urls, "health": healthy,
        }));
    }
    shown(&list.into())
}

async fn answers_ping(url: &str) -> bool {
    let target = format!("{}/pd/api/v1/ping", url.trim_end_matches('/'));
    // Answered by the member itself in every version, so that a lost leader looks no worse.
    let own = (super::ALLOW_FOLLOWER, "true");
    let asked = port::ask(Method::GET, &target, own, axum::body::Bytes::new());
    let answered = tokio::time::timeout(PING_LIMIT, asked).await.ok().flatten();
    answered.is_some_and(|answer| answer.status() == StatusCode::OK)
}

/// etcd's own `/health`: the only one that needs a quorum.
pub(super) async fn etcd_health(server: &Server) -> Answer {
    let key = server.leader_key();
    let read = tokio::time::timeout(QUORUM_LIMIT, server.etcd.get(&key)).await;
    let (status, body) = if matches!(read, Ok(Ok(_))) {
        (StatusCode::OK, r#"{"health":"true","reason":""}"#)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"health":"false","reason":"RAFT NO LEADER"}"#)
    };
    typed(status, super::TEXT, body)
}
