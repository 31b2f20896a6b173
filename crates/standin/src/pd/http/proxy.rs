//! How does a follower answer for the leader? It passes the request on, marked with its own name,
//! and waits a little for a leader when there is none.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::text;
use crate::pd::server::{LeaderRecord, Server};
use crate::pd::version::Feature;
use crate::port::{self, Answer, Ask};

/// Longest wait for a leader.
const LEADER_WAIT: Duration = Duration::from_secs(3);

/// Longest wait for the leader's answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The leader's answer to `ask`.
pub(super) async fn pass_on(server: &Arc<Server>, ask: &Ask) -> Answer {
    let waits = server.options.version.has(Feature::LeaderWait);
    if !waits && server.leader.borrow().is_none() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "no leader");
    }
    let Some(leader) = wait_for_leader(server).await else {
        let reason = "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader";
        return text(StatusCode::SERVICE_UNAVAILABLE, reason);
    };
    if leader.member_id == server.record.member_id {
        // It became leader, or lost it, while this request waited.
        return Box::pin(super::answer(Arc::clone(server), ask.clone())).await;
    }
    for url in &leader.client_urls {
        let target = format!("{}{}", url.trim_end_matches('/'), ask.target);
        let marked = (super::REDIRECTOR, server.options.name.as_str());
        let passed = port::ask(ask.method.clone(), &target, marked, ask.body.clone());
        if let Ok(Some(answer)) = tokio::time::timeout(ANSWER_LIMIT, passed).await {
            return answer;
        }
    }
    text(StatusCode::INTERNAL_SERVER_ERROR, "[PD:apiutil:ErrRedirect]redirect failed")
}

async fn wait_for_leader(server: &Server) -> Option<LeaderRecord> {
    let mut leaders = server.leader.subscribe();
    let found = leaders.wait_for(Option::is_some);
    let found = tokio::time::timeout(LEADER_WAIT, found).await.ok()?.ok()?;
    found.clone()
}
