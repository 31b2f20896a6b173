//! How does a follower answer for the leader? It passes the request on, marked with its own name,
//! and waits a little for a leader when there is none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{Answer, Ask};
use crate::pd::server::{LeaderRecord, Server};
use crate::pd::version::Feature;

/// Longest wait for a leader.
const LEADER_WAIT: Duration = Duration::from_secs(3);

/// Longest wait for the leader's answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The leader's answer to `ask`.
pub(super) async fn pass_on(server: &Arc<Server>, ask: &Ask) -> Answer {
    let waits = server.options.version.has(Feature::LeaderWait);
    if !waits && server.leader.borrow().is_none() {
        return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "no leader");
    }
    let Some(leader) = wait_for_leader(server).await else {
        let text = "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader";
        return Answer::text(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    if leader.member_id == server.record.member_id {
        // It became leader, or lost it, while this request waited.
        return Box::pin(super::answer(server, ask.clone())).await;
    }
    for url in &leader.client_urls {
        if let Some(answer) = forward(server, ask, url).await {
            return answer;
        }
    }
    let text = "[PD:apiutil:ErrRedirect]redirect failed";
    Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

async fn wait_for_leader(server: &Server) -> Option<LeaderRecord> {
    let mut leaders = server.leader.subscribe();
    let found = leaders.wait_for(Option::is_some);
    let found = tokio::time::timeout(LEADER_WAIT, found).await.ok()?.ok()?;
    found.clone()
}

async fn forward(server: &Server, ask: &Ask, url: &str) -> Option<Answer> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let target = format!("{}{}", url.trim_end_matches('/'), ask.target);
    let mut request = Request::builder().method(ask.method.clone()).uri(target);
    if let Some(kind) = ask.headers.get(http::header::CONTENT_TYPE) {
        request = request.header(http::header::CONTENT_TYPE, kind);
    }
    let request = request.header(super::REDIRECTOR, &server.options.name);
    let request = request.body(Full::new(ask.body.clone())).ok()?;
    let response = tokio::time::timeout(ANSWER_LIMIT, client.request(request)).await.ok()?.ok()?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    let mut headers = Vec::new();
    for name in ["content-type", "x-content-type-options", "tidb-error-code"] {
        let value = parts.headers.get(HeaderName::from_static(name));
        if let Some(value) = value.and_then(|value| value.to_str().ok()) {
            headers.push((name, value.to_owned()));
        }
    }
    Some(Answer { status: parts.status, headers, body })
}
