//! Is anything out of order already? Then nothing else is taken down voluntarily.

use jiff::SignedDuration;

use super::Scene;
use super::rows::Member;
use crate::rules;
use crate::world::{Component, PdView, PodFacts, PodPhase, Slot, StoreFacts, StoreState};

/// A store that has not sent a heartbeat for this long is not taken for present, whatever its state
/// says: PD itself waits 20 s before it calls a store Disconnected, and a store sends every 10 s.
const FRESH: SignedDuration = SignedDuration::from_secs(20);
/// A process starts after its pod was made. Its node's clock and the API server's may differ by
/// this much, and both give whole seconds.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(2);
/// After so long a pod that is not ready will hardly become so, whatever of it is not well.
pub(crate) const A_START_TAKES: SignedDuration = SignedDuration::from_secs(30);
/// PD's `Up` means heard within 20 s, so a container that has run for longer is the one that was
/// heard, whatever the clocks of two machines say.
const HEARD_IS_THIS_ONE: SignedDuration = SignedDuration::from_secs(30);

/// What is out of order in the whole cluster, `apart` from the members named: the first thing
/// found, as a clause for a sentence. `None`: all is calm.
///
/// Both components count: PD and TiKV are never disturbed at the same time.
pub(crate) fn disturbance(scene: &Scene<'_>, apart: &[Slot]) -> Option<String> {
    let PdView::Known(pd) = &scene.world.pd else {
        return Some("PD does not answer".to_owned());
    };
    if let Some((listed, known)) = scene.lonely_leader() {
        return Some(format!("PD's leader lists {listed} of {known} members that volumes name"));
    }
    let mut apart = apart.to_vec();
    for component in Component::ALL {
        let joining = &scene.roster(component).joining;
        for slot in scene.wanted(component) {
            let member = scene.member(slot);
            if apart.contains(&slot) || (member.pod.is_none() && joining.contains(&slot)) {
                continue;
            }
            // It waits for what is about to be restarted, which must not wait for it.
            if rules::waits_for_version(scene, slot) {
                apart.push(slot);
                continue;
            }
            if let Some(words) = unsettled(scene, &member) {
                return Some(format!("{} {words}", slot.pod_name(scene.name())));
            }
        }
    }
    let apart_stores: Vec<_> =
        apart.iter().filter_map(|slot| scene.member(*slot).store.map(|store| store.id)).collect();
    let apart_names: Vec<_> = apart.iter().map(|slot| slot.pod_name(scene.name())).collect();
    let away = pd
        .live_stores()
        .filter(|store| !apart_stores.contains(&store.id))
        .find(|store| !is_heard(scene, store));
    if let Some(store) = away {
        return Some(format!("store {} at {} is not heard", store.id, store.address));
    }
    let unwell = pd.members.values().find(|m| !m.healthy && !apart_names.contains(&m.name));
    unwell.map(|member| format!("PD member {} ({}) is not healthy", member.name, member.id))
}

/// What is out of order with the pod of one slot. A pod that never ran holds nothing up, unless PD
/// knows a member by its name: then the member was taken down and is not back.
fn unsettled(scene: &Scene<'_>, member: &Member<'_>) -> Option<&'static str> {
    let Some(pod) = member.pod else { return Some("has no pod") };
    if pod.deleting_since.is_some() {
        return Some("is being deleted");
    }
    let known = member.store.is_some() || member.listed.is_some();
    if (pod.has_run || known) && !serves(scene, member) {
        return Some("does not run");
    }
    // PD may hear a server before its kubelet has looked, and disruption budgets count what is Ready, our
    // gate included. A sidecar that never gets ready holds nothing up for longer.
    if known && !pod.ready && pod.started.is_some() && is_young(scene, pod) {
        return Some("was started a moment ago and is not ready yet");
    }
    let silent = member
        .store
        .is_some_and(|store| store.state == StoreState::Up && !runs_in(scene, store, pod));
    silent.then_some("runs and its store is not back yet")
}

/// The pod, or its present process, was made so lately that it may not be ready for that alone.
pub(crate) fn is_young(scene: &Scene<'_>, pod: &PodFacts) -> bool {
    let since = pod.started.unwrap_or(pod.created);
    scene.world.now.duration_since(since) < A_START_TAKES
}

/// The store in this slot is Up, heard a moment ago, and it is the process of the pod that exists:
/// for up to 20 s after a pod was deleted PD's word is about the process that has ended.
pub(crate) fn returned(scene: &Scene<'_>, slot: Slot) -> bool {
    let member = scene.member(slot);
    let (Some(store), Some(pod)) = (member.store, member.pod) else { return false };
    store.state == StoreState::Up
        && is_heard(scene, store)
        && pod.deleting_since.is_none()
        && serves(scene, &member)
        && runs_in(scene, store, pod)
}

/// Does somebody rely on this pod? Its containers are all ready, or its server is heard although
/// another container of the pod is not well: a sidecar that crashes takes a store out of
/// Kubernetes' word, and out of nobody's service.
pub(crate) fn serves(scene: &Scene<'_>, member: &Member<'_>) -> bool {
    let Some(pod) = member.pod else { return false };
    if pod.containers_ready {
        return true;
    }
    let Some(started) = pod.started.filter(|_| pod.phase == PodPhase::Running) else {
        return false;
    };
    // What PD heard before the container's start was another process.
    let heard = |store: &StoreFacts| {
        let since = store.last_heartbeat.is_some_and(|heard| heard > started);
        since && is_heard(scene, store) && runs_in(scene, store, pod)
    };
    member.store.is_some_and(heard) || member.listed.is_some_and(|listed| listed.healthy)
}

/// May somebody rely on this pod? PD calls a store Up that it heard within 20 s by its own clock, whatever
/// ours says of the time of that.
pub(crate) fn may_serve(scene: &Scene<'_>, member: &Member<'_>) -> bool {
    let runs = |pod: &PodFacts| pod.phase == PodPhase::Running && pod.started.is_some();
    let up = |store: &StoreFacts| store.state == StoreState::Up;
    serves(scene, member) || (member.pod.is_some_and(runs) && member.store.is_some_and(up))
}

/// Does PD speak of the process in this pod, rather than of an earlier one?
fn runs_in(scene: &Scene<'_>, store: &StoreFacts, pod: &PodFacts) -> bool {
    let younger = store.started.is_some_and(|at| at + CLOCKS_DIFFER >= pod.created);
    let now = scene.world.now;
    younger || pod.started.is_some_and(|at| now.duration_since(at) >= HEARD_IS_THIS_ONE)
}

/// PD heard the store within the last 20 s.
pub(crate) fn is_heard(scene: &Scene<'_>, store: &StoreFacts) -> bool {
    let silent = matches!(store.state, StoreState::Disconnected | StoreState::Down);
    let now = scene.world.now;
    !silent && store.last_heartbeat.is_some_and(|at| now.duration_since(at) <= FRESH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;
    use crate::world::World;

    fn found(change: impl FnOnce(&mut World), apart: &[Slot]) -> Option<String> {
        let cluster = fixture::cluster(json!({}));
        let mut world = fixture::settled(&cluster);
        change(&mut world);
        disturbance(&Scene::new(&cluster, &world), apart)
    }

    /// The pod is made again at the scene's time; PD still says Up of the process before it.
    fn made_again(world: &mut World, ran: i64, has_run: bool) {
        let id = world.volumes["tikv-c-tikv-1"].marks.store.expect("a store");
        let store = fixture::pd_of(world).stores.get_mut(&id).expect("a store");
        store.started = Some(fixture::now() - SignedDuration::from_hours(1));
        let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
        pod.created = fixture::now() - SignedDuration::from_secs(ran);
        pod.started = Some(pod.created);
        (pod.has_run, pod.containers_ready, pod.ready) = (has_run, has_run, has_run);
    }

    #[test]
    fn a_pod_that_was_made_again_is_not_back_while_pd_speaks_of_the_process_before() {
        assert_eq!(found(|_| {}, &[]), None);
        let words = found(|world| made_again(world, 1, true), &[]);
        assert_eq!(words.as_deref(), Some("c-tikv-1 runs and its store is not back yet"));
        let words = found(|world| made_again(world, 1, false), &[]);
        assert_eq!(words.as_deref(), Some("c-tikv-1 does not run"), "pending under a known store");
        assert_eq!(found(|world| made_again(world, 1, true), &[Slot::tikv(1)]), None);
        // PD's 20 s are over: what it hears is the new process.
        assert_eq!(found(|world| made_again(world, 31, true), &[]), None);
    }

    #[test]
    fn a_start_is_over_when_the_kubelet_says_so_too() {
        let heard = |ran: i64| {
            move |world: &mut World| {
                made_again(world, ran, false);
                let created = world.pods[&Slot::tikv(1)].created;
                let id = world.volumes["tikv-c-tikv-1"].marks.store.expect("a store");
                let store = fixture::pd_of(world).stores.get_mut(&id).expect("a store");
                (store.started, store.last_heartbeat) = (Some(created), Some(fixture::now()));
            }
        };
        let words = found(heard(2), &[]);
        let said = "c-tikv-1 was started a moment ago and is not ready yet";
        assert_eq!(words.as_deref(), Some(said));
        assert_eq!(found(heard(31), &[]), None, "a sidecar");
        let gate = |world: &mut World| {
            heard(2)(world);
            let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
            (pod.containers_ready, pod.ready) = (true, false);
        };
        assert_eq!(found(gate, &[]).as_deref(), Some(said), "the kubelet has not seen our gate");
    }

    #[test]
    fn a_silent_store_or_an_unwell_member_is_a_disturbance() {
        let silent = |world: &mut World| {
            let store = fixture::pd_of(world).stores.values_mut().next().expect("a store");
            store.last_heartbeat = Some(fixture::now() - SignedDuration::from_secs(21));
        };
        assert!(found(silent, &[]).is_some_and(|words| words.contains("not heard")));
        assert_eq!(found(silent, &[Slot::tikv(0)]), None);
        let unwell = |world: &mut World| {
            fixture::pd_of(world).members.values_mut().next().expect("a member").healthy = false;
        };
        assert!(found(unwell, &[]).is_some_and(|words| words.contains("not healthy")));
        assert_eq!(found(unwell, &[Slot::pd(0)]), None);
    }
    #[test]
    fn a_store_is_back_when_pd_heard_this_process_lately_and_calls_it_up() {
        let cluster = fixture::cluster(json!({}));
        let back = |change: fn(&mut StoreFacts)| {
            let mut world = fixture::settled(&cluster);
            let id = world.volumes["tikv-c-tikv-1"].marks.store.expect("a store");
            change(fixture::pd_of(&mut world).stores.get_mut(&id).expect("a store"));
            returned(&Scene::new(&cluster, &world), Slot::tikv(1))
        };
        assert!(back(|_| {}));
        assert!(!back(|store| store.state = StoreState::Offline), "heard, and on its way out");
        assert!(!back(|store| store.last_heartbeat = Some(fixture::now() - FRESH * 2)), "silent");
    }
}
