//! What is said of each member?

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tikv_operator_api::labels;
use tikv_operator_api::v1alpha1::{MemberStatus, PdStatus, StoreProgress, StoreStatus, TikvStatus};

use super::since;
use crate::plan::Scene;
use crate::world::{Component, PdMember, StoreFacts, StoreState, VolumeFacts};

/// The status of PD and of TiKV.
pub(super) fn members(scene: &Scene<'_>) -> (PdStatus, TikvStatus) {
    (pd(scene), tikv(scene))
}

fn pd(scene: &Scene<'_>) -> PdStatus {
    let mut members: Vec<MemberStatus> = Vec::new();
    let mut ready = 0;
    for slot in scene.wanted(Component::Pd) {
        let joined = scene.member(slot);
        let name = slot.pod_name(scene.name());
        let healthy = joined.listed.is_some_and(|m| m.healthy);
        ready += i32::from(healthy && joined.pod.is_some_and(|p| p.ready));
        let leaving = joined.volume.and_then(|volume| volume.marks.leaving.as_ref());
        members.push(MemberStatus {
            pod: joined.pod.map(|_| name.clone()),
            leaving: leaving.map(|leaving| leaving.reason.clone()),
            leaving_since: leaving.map(|leaving| Time(leaving.since)),
            ..member(scene, &name, joined.listed)
        });
    }
    if let Some(facts) = scene.pd() {
        let listed: BTreeSet<String> = members.iter().filter_map(|m| m.id.clone()).collect();
        let others = facts.members.values().filter(|m| !listed.contains(&m.id.to_string()));
        members.extend(others.map(|other| member(scene, &other.name, Some(other))));
    }
    PdStatus {
        replicas: pods(scene, Component::Pd),
        ready,
        summary: Some(format!("{ready}/{}", scene.replicas(Component::Pd))),
        version: common(members.iter().map(|m| m.version.as_deref())),
        members,
    }
}

fn member(scene: &Scene<'_>, name: &str, facts: Option<&PdMember>) -> MemberStatus {
    let leader = scene.pd().map(|pd| pd.leader.id);
    MemberStatus {
        name: name.to_owned(),
        id: facts.map(|m| m.id.to_string()),
        pod: None,
        healthy: facts.is_some_and(|m| m.healthy),
        leader: facts.is_some_and(|m| leader == Some(m.id)),
        unhealthy_since: since::unhealthy(scene, name, facts),
        version: facts.map(|m| m.version.clone()).filter(|v| !v.is_empty()),
        leaving: None,
        leaving_since: None,
    }
}

fn tikv(scene: &Scene<'_>) -> TikvStatus {
    let mut stores: Vec<StoreStatus> = Vec::new();
    let mut ready = 0;
    let roster = scene.roster(Component::Tikv);
    for slot in scene.wanted(Component::Tikv) {
        let joined = scene.member(slot);
        let up = joined.store.is_some_and(|s| s.state == StoreState::Up);
        ready += i32::from(up && joined.pod.is_some_and(|p| p.containers_ready));
        let leaving = joined.volume.and_then(|volume| volume.marks.leaving.as_ref());
        stores.push(StoreStatus {
            pod: joined.pod.map(|_| slot.pod_name(scene.name())),
            leaving: leaving.map(|leaving| leaving.reason.clone()),
            progress: joined.store.and_then(|store| progress(scene, store)),
            replaces: replaces(scene, joined.volume),
            replaced_by: roster.replaced.get(&slot).map(|by| by.pod_name(scene.name())),
            ..joined.store.map(|facts| store(scene, facts)).unwrap_or_default()
        });
    }
    if let Some(facts) = scene.pd() {
        let listed: BTreeSet<String> = stores.iter().filter_map(|s| s.id.clone()).collect();
        let others = facts.live_stores().filter(|s| !listed.contains(&s.id.to_string()));
        stores.extend(others.map(|facts| store(scene, facts)));
    }
    // Of a slot that has neither a pod nor a store nor a replacement nothing can be said.
    stores.retain(|row| *row != StoreStatus::default());
    TikvStatus {
        replicas: pods(scene, Component::Tikv),
        ready,
        summary: Some(format!("{ready}/{}", scene.replicas(Component::Tikv))),
        selector: Some(labels::selector(scene.name(), Component::Tikv)),
        version: common(stores.iter().map(|s| s.version.as_deref())),
        stores,
    }
}

/// The lost store that the member on this volume stands in for.
fn replaces(scene: &Scene<'_>, volume: Option<&VolumeFacts>) -> Option<String> {
    let id = volume?.marks.replaces?;
    let store = scene.pd()?.stores.get(&id)?;
    (store.state != StoreState::Tombstone).then(|| id.to_string())
}

fn store(scene: &Scene<'_>, facts: &StoreFacts) -> StoreStatus {
    let state = match facts.state {
        StoreState::Up => "Up",
        StoreState::Disconnected => "Disconnected",
        StoreState::Down => "Down",
        StoreState::Offline => "Offline",
        StoreState::Tombstone => "Tombstone",
    };
    StoreStatus {
        id: Some(facts.id.to_string()),
        pod: None,
        replaces: None,
        replaced_by: None,
        state: Some(state.to_owned()),
        since: since::state(scene, facts, state),
        used_percent: since::used(scene, facts),
        leaders: i64::try_from(facts.leaders).ok(),
        regions: i64::try_from(facts.regions).ok(),
        leaving: None,
        progress: None,
        version: Some(facts.version.clone()).filter(|v| !v.is_empty()),
    }
}

/// How far PD is with emptying the store, while that goes on.
fn progress(scene: &Scene<'_>, store: &StoreFacts) -> Option<StoreProgress> {
    if store.state != StoreState::Offline {
        return None;
    }
    let progress = scene.pd()?.progress.get(&store.id)?;
    let whole = |value: f64| format!("{:.0}", value.max(0.0)).parse::<i64>().ok();
    Some(StoreProgress {
        percent: whole(progress.done.min(1.0) * 100.0).and_then(|n| i32::try_from(n).ok())?,
        bytes_per_second: whole(progress.speed).filter(|speed| *speed > 0),
        seconds_left: progress.left_seconds.and_then(|left| i64::try_from(left).ok()),
    })
}

fn pods(scene: &Scene<'_>, component: Component) -> i32 {
    let count = scene.world.pods.keys().filter(|slot| slot.component == component).count();
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The version that all report; `None` while they differ or one does not say.
fn common<'a>(mut versions: impl Iterator<Item = Option<&'a str>>) -> Option<String> {
    let first = versions.next()??;
    versions.all(|v| v == Some(first)).then(|| first.to_owned())
}
