//! What answers on PD's port besides gRPC? The HTTP API v1 and v2. A follower passes a request on
//! to the leader unless it is asked not to.

mod cluster;
mod local;
mod members;
mod stores;
mod v2;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::cluster::Cluster;
use super::refusal::{Refusal, worded};
use super::server::Server;
use crate::port::{self, Answer, Ask, typed};
use crate::proto::pdpb::Member;
use crate::version::Feature;

/// Content type of most answers.
const JSON: &str = "application/json; charset=UTF-8";
/// Content type of API v2.
const JSON_V2: &str = "application/json; charset=utf-8";
/// Content type of the router and the redirector.
const TEXT: &str = "text/plain; charset=utf-8";
/// A request with this header is answered by the contacted member itself.
const ALLOW_FOLLOWER: &str = "pd-allow-follower-handle";
/// Set by a follower that passes a request on.
const REDIRECTOR: &str = "pd-redirector";

/// Longest wait for a leader.
const LEADER_WAIT: Duration = Duration::from_secs(3);

/// Longest wait for the leader's answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

type Result<T = Answer> = std::result::Result<T, Refusal>;

/// Indented JSON with a status, as API v1 writes it.
fn json_with(status: StatusCode, value: &Value) -> Answer {
    typed(status, JSON, format!("{value:#}\n"))
}

/// 200 with indented JSON.
#[expect(clippy::unnecessary_wraps, reason = "an answer like the others")]
fn shown(value: &Value) -> Result {
    Ok(json_with(StatusCode::OK, value))
}

/// 200 with a JSON string.
fn said(text: &str) -> Result {
    shown(&text.into())
}

/// Compact JSON, as API v2 writes it.
fn json_v2(status: StatusCode, value: &Value) -> Answer {
    typed(status, JSON_V2, value.to_string())
}

/// Plain text of the router or the redirector.
fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = typed(status, TEXT, format!("{text}\n"));
    let options = HeaderValue::from_static("nosniff");
    answer.headers_mut().insert(http::header::X_CONTENT_TYPE_OPTIONS, options);
    answer
}

/// No such path in API v1.
fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "404 page not found")
}

/// The body as a JSON object; anything else is bad input.
fn object(ask: &Ask) -> Result<Map<String, Value>> {
    ask.object().map_err(|error| Refusal::input(error.to_string()))
}

/// A number of the path.
fn id(text: &str) -> Result<u64> {
    let bad = |_| Refusal::input(format!("strconv.ParseUint: parsing {text:?}: invalid syntax"));
    text.parse().map_err(bad)
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        if !refusal.as_object {
            return json_with(refusal.status, &refusal.message.into());
        }
        let body = json!({"code": "input", "msg": refusal.message, "data": {}});
        let mut answer = json_with(refusal.status, &body);
        answer.headers_mut().insert("tidb-error-code", HeaderValue::from_static("input"));
        answer
    }
}

/// Answers one request.
pub async fn answer(server: Arc<Server>, ask: Ask) -> Answer {
    match ask.route(0).as_slice() {
        ["health"] => local::etcd_health(&server).await,
        ["pd", "api", "v2", ..] => v2::answer(&server, &ask).await,
        ["pd", "api", "v1", ..] => v1(&server, &ask).await,
        _ => not_found(),
    }
}

async fn v1(server: &Arc<Server>, ask: &Ask) -> Answer {
    let route = ask.route(3);
    let own = server.options.version.has(Feature::LOCAL_ANSWERS)
        && (matches!(route.as_slice(), ["health" | "ping" | "status" | "version"])
            || (ask.method == Method::GET && route == ["config"]));
    let version = server.options.version;
    if own || ask.headers.contains_key(ALLOW_FOLLOWER) || server.is_leader().await {
        let answer = here(server, ask, &route).await;
        return answer.unwrap_or_else(|refusal| refusal.of(version).into());
    }
    if ask.headers.contains_key(REDIRECTOR) {
        let reason = "[PD:apiutil:ErrRedirectToNotLeader]redirect to not leader";
        return text(StatusCode::INTERNAL_SERVER_ERROR, &worded(version, reason));
    }
    pass_on(server, ask).await
}

/// Answers as this member: with the leader's state if it leads, else with what every member has.
async fn here(server: &Arc<Server>, ask: &Ask, route: &[&str]) -> Result {
    if let Some(answer) = local::answer(server, ask, route).await {
        return answer;
    }
    if let Some(answer) = members::answer(server, ask, route).await {
        return answer;
    }
    let mut guard = server.lead().await;
    let answer = match guard.as_mut() {
        Some(cluster) => on_leader(server, cluster, ask, route),
        None => on_follower(ask, route),
    };
    server.commit(&mut guard).await?;
    answer
}

fn on_leader(server: &Server, cluster: &mut Cluster, ask: &Ask, route: &[&str]) -> Result {
    stores::answer(cluster, ask, route)
        .or_else(|| cluster::answer(server, cluster, ask, route))
        .unwrap_or_else(|| Ok(not_found()))
}

/// What a follower can say itself: it has no cluster object.
fn on_follower(ask: &Ask, route: &[&str]) -> Result {
    match (ask.method.as_str(), route) {
        ("GET", ["regions", "count"]) => cluster::region_count(0),
        (_, ["stores" | "store" | "schedulers" | "regions" | "region" | "operators", ..]) => {
            Err(Refusal::not_bootstrapped())
        }
        _ => Ok(not_found()),
    }
}

/// The leader's answer to `ask`: passed on, marked with the own name, after a little wait for a leader
/// when there is none.
async fn pass_on(server: &Arc<Server>, ask: &Ask) -> Answer {
    let waits = server.options.version.has(Feature::LEADER_WAIT);
    if !waits && server.leader.borrow().is_none() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "no leader");
    }
    let Some(leader) = wait_for_leader(server).await else {
        let reason = "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader";
        return text(StatusCode::SERVICE_UNAVAILABLE, reason);
    };
    if leader.member_id == server.record.member_id {
        // It became leader, or lost it, while this request waited.
        return Box::pin(answer(Arc::clone(server), ask.clone())).await;
    }
    for url in &leader.client_urls {
        let target = format!("{}{}", url.trim_end_matches('/'), ask.target);
        let marked = (REDIRECTOR, server.options.name.as_str());
        let passed = port::ask(ask.method.clone(), &target, marked, ask.body.clone());
        if let Ok(Some(answer)) = tokio::time::timeout(ANSWER_LIMIT, passed).await {
            return answer;
        }
    }
    let reason = worded(server.options.version, "[PD:apiutil:ErrRedirect]redirect failed");
    text(StatusCode::INTERNAL_SERVER_ERROR, &reason)
}

async fn wait_for_leader(server: &Server) -> Option<Member> {
    let mut leaders = server.leader.subscribe();
    let found = leaders.wait_for(Option::is_some);
    let found = tokio::time::timeout(LEADER_WAIT, found).await.ok()?.ok()?;
    found.clone()
}
