//! What is not as it should be, though there is nothing to do about it but wait?
//!
//! A silent wait is a bug: whatever keeps the cluster from `Ready` is named here.

use jiff::SignedDuration;

use super::draft::Draft;
use super::rows::Member;
use super::{Identity, Scene, Severity};
use crate::rules;
use crate::world::{Component, PdFacts, PdView, PodFacts, Replication, StoreFacts, StoreState};

/// PD elects a leader within seconds (lease 5 s, election 3 s); silence for longer is a fault.
const PD_SILENCE_IS_A_FAULT: SignedDuration = SignedDuration::from_mins(1);

/// A container that ran and does not is given this long to come back before it is called a fault.
const RESTART_TAKES: SignedDuration = SignedDuration::from_secs(30);

/// Notes everything that stands between the cluster and `Ready`, and every field that is not acted on.
pub(super) fn explain(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for component in Component::ALL.into_iter().filter(|c| !scene.suspending(*c)) {
        for slot in scene.wanted(component) {
            explain_pod(scene, &scene.member(slot), draft);
        }
    }
    match &scene.world.pd {
        PdView::NotCreated => {}
        // Whatever is stopped, or stops, is silent.
        PdView::Unreachable { .. } | PdView::Known(_) if scene.suspending(Component::Pd) => {}
        PdView::Known(pd) if scene.suspending(Component::Tikv) => {
            explain_members(scene, pd, draft);
        }
        PdView::Unreachable { seen_for, reason } => {
            let known = matches!(scene.identity, Identity::Known(_));
            let fault = known && *seen_for >= PD_SILENCE_IS_A_FAULT;
            let severity = if fault { Severity::Degraded } else { Severity::Progress };
            let detail = format!("PD has no leader that answers: {reason}");
            draft.wait_as("pd", &rules::PD_ELECTS_LEADER, severity, detail);
        }
        PdView::Known(pd) => {
            explain_members(scene, pd, draft);
            explain_stores(scene, pd, draft);
            explain_regions(scene, pd, draft);
        }
    }
}

fn explain_pod(scene: &Scene<'_>, member: &Member<'_>, draft: &mut Draft<'_>) {
    let Some(pod) = member.pod.filter(|pod| pod.deleting_since.is_none()) else {
        return;
    };
    let name = member.slot.pod_name(scene.name());
    if let Some(node) = pod.node.as_ref().filter(|_| scene.is_unheard(pod)) {
        let detail =
            format!("{name} is on node {node}, which is not Ready, out of service or gone");
        draft.wait(name, &rules::NODE_NOT_HEARD, detail);
        return;
    }
    if pod.containers_ready {
        return;
    }
    let detail = match &pod.trouble {
        Some(trouble) => format!("{name} does not run yet: {trouble}"),
        None => format!("{name} is starting"),
    };
    let severity = pod_severity(scene, &name, pod);
    draft.wait_as(name, &rules::PODS_START, severity, detail);
}

/// A pod that once ran and has not run for a while is a fault; one that is coming up is not, nor
/// is one restart (a PD container exits when the names of its peers do not resolve yet).
fn pod_severity(scene: &Scene<'_>, name: &str, pod: &PodFacts) -> Severity {
    let waits = &scene.world.resource.status.waits;
    let long = waits
        .iter()
        .filter(|w| w.rule == rules::PODS_START.name && w.subject == name)
        .filter_map(|w| w.since.as_ref())
        .any(|since| scene.world.now.duration_since(since.0) >= RESTART_TAKES);
    if pod.has_run && long { Severity::Degraded } else { Severity::Progress }
}

fn explain_members(scene: &Scene<'_>, pd: &PdFacts, draft: &mut Draft<'_>) {
    for member in pd.members.values().filter(|m| !m.healthy) {
        let name = if member.name.is_empty() { "(half-joined)" } else { &member.name };
        let detail = format!("PD member {name} ({}) does not answer", member.id);
        let subject = format!("pd member {}", member.id);
        // During bootstrap the last members come up after the first quorum.
        let severity = if pd.bootstrapped { Severity::Degraded } else { Severity::Progress };
        draft.wait_as(subject, &rules::PD_MEMBER_NOT_HEALTHY, severity, detail);
    }
    for slot in scene.wanted(Component::Pd) {
        let member = scene.member(slot);
        if member.pod.is_some_and(|p| p.containers_ready) && member.listed.is_none() {
            let name = slot.pod_name(scene.name());
            let detail = format!("{name} runs and is not a PD member yet");
            draft.wait_as(name, &rules::PD_MEMBER_NOT_HEALTHY, Severity::Progress, detail);
        }
    }
}

fn explain_stores(scene: &Scene<'_>, pd: &PdFacts, draft: &mut Draft<'_>) {
    for slot in scene.wanted(Component::Tikv) {
        let member = scene.member(slot);
        if member.pod.is_some_and(|p| p.containers_ready) && member.store.is_none() {
            let name = slot.pod_name(scene.name());
            let detail = format!("{name} runs and PD does not list its store yet");
            draft.wait(name, &rules::STORES_REGISTER, detail);
        }
    }
    for store in pd.stores.values() {
        let word = match store.state {
            StoreState::Up | StoreState::Tombstone => continue,
            StoreState::Disconnected => "Disconnected (silent for more than 20 s)",
            StoreState::Down => "Down",
            // By our hand: what it waits for is said where it is removed.
            StoreState::Offline if removed_by_us(scene, store) => continue,
            StoreState::Offline => "Offline (being removed)",
        };
        // Registered a moment ago and not heard yet reads Down (the stand-in's `trap_01`).
        let severity = match store.last_heartbeat {
            Some(_) => Severity::Degraded,
            None => Severity::Progress,
        };
        let detail = format!("store {} at {} is {word} in PD", store.id, store.address);
        draft.wait_as(format!("store {}", store.id), &rules::STORE_NOT_UP, severity, detail);
    }
}

fn removed_by_us(scene: &Scene<'_>, store: &StoreFacts) -> bool {
    scene
        .world
        .volumes
        .values()
        .any(|volume| volume.marks.store == Some(store.id) && volume.marks.leaving.is_some())
}

fn explain_regions(scene: &Scene<'_>, pd: &PdFacts, draft: &mut Draft<'_>) {
    if !pd.bootstrapped {
        return;
    }
    if !pd.fully_replicated() {
        let detail = match (pd.regions, pd.replication) {
            (0, _) => "PD has not heard of any region yet".to_owned(),
            (_, Replication::Unknown) => "PD did not say whether all regions are replicated".into(),
            (n, _) => format!("not all of {n} regions have their replicas yet"),
        };
        draft.wait(scene.name(), &rules::REGIONS_REPLICATED, detail);
    } else if pd.leader.is_new() {
        let detail = "PD's leader changed less than a minute ago".to_owned();
        draft.wait(scene.name(), &rules::PROOF_SETTLES, detail);
    }
}
