//! What has happened to PD?

use jiff::SignedDuration;
use tikv_operator_api::v1alpha1::TaskEvent as E;

use super::super::edge::Edge;
use super::Seen;

/// A member that is not healthy is lost after this long: a restart takes less.
const SICK: SignedDuration = SignedDuration::from_mins(1);

const LOST: &str = "PdMemberLost";
const LEADER: &str = "Leader";
const QUORUM: &str = "PdQuorumLost";
/// The wait of the cluster that says so.
pub(super) const QUORUM_RULE: &str = "pd-quorum-lost";

pub(super) fn see(seen: &mut Seen<'_>) {
    if seen.wants(&[E::PdMemberLost]) {
        lost(seen);
    }
    if seen.wants(&[E::PdLeaderChanged]) {
        leader(seen);
    }
    if seen.wants(&[E::PdQuorumLost]) {
        quorum(seen);
    }
}

fn lost(seen: &mut Seen<'_>) {
    let view = seen.view;
    for member in view.status.pd.iter().flat_map(|pd| &pd.members) {
        let since = member.unhealthy_since.as_ref().map(|since| since.0);
        let replaced = member.leaving.as_deref() == Some("replaced");
        if member.healthy && !replaced {
            continue;
        }
        if replaced || seen.lasts(since, SICK) {
            let detail = format!("PD member {} is not healthy", member.name);
            let edge = Edge::new(E::PdMemberLost, &member.name, detail);
            let edge = edge.of_pod(member.pod.as_ref());
            seen.level(LOST, &member.name, member.id.as_deref().unwrap_or_default(), edge);
        } else {
            seen.keep(LOST, &member.name);
        }
    }
}

fn leader(seen: &mut Seen<'_>) {
    let view = seen.view;
    let mut members = view.status.pd.iter().flat_map(|pd| &pd.members);
    let Some(leader) = members.find(|member| member.leader) else {
        seen.keep(LEADER, &view.name);
        return;
    };
    if let Some(was) = seen.was(LEADER, &view.name).filter(|was| *was != leader.name) {
        let detail = format!("{} leads PD, {was} did before", leader.name);
        let edge = Edge::new(E::PdLeaderChanged, &leader.name, detail).of_pod(leader.pod.as_ref());
        seen.raise(edge.between(Some(was), Some(&leader.name)));
    }
    seen.mark(LEADER, &view.name, leader.name.as_str());
}

fn quorum(seen: &mut Seen<'_>) {
    let view = seen.view;
    if let Some(wait) = view.status.waits.iter().find(|wait| wait.rule == QUORUM_RULE) {
        let edge = Edge::new(E::PdQuorumLost, &view.name, wait.detail.clone());
        seen.level(QUORUM, &view.name, "", edge);
        return;
    }
    // A pass that ended before it came to that wait says nothing of it; a leader does.
    let mut members = view.status.pd.iter().flat_map(|pd| &pd.members);
    if !members.any(|member| member.leader) {
        seen.keep(QUORUM, &view.name);
    }
}
