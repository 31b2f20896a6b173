//! Tables about pods that serve although Kubernetes does not call them ready, and about a stop that
//! has to wait.

use jiff::SignedDuration;

use super::*;
use crate::plan::{Plan, plan};
use crate::world::{Component, Leaving, Revision};

fn restart(slot: Slot) -> Step {
    let uid = Uid(format!("uid-pod-{slot}"));
    Step::DeletePod { name: slot.pod_name("c"), uid, reason: "a test".into() }
}

fn taken(plan: &Plan) -> Vec<&str> {
    let names = plan.steps.iter().filter_map(|step| {
        let Step::DeletePod { name, .. } = step else { return None };
        Some(name.as_str())
    });
    names.collect()
}

/// Every pod was made from an earlier spec, whose sidecar crashes; every server is heard.
fn crashing_sidecars(cluster: &Cluster) -> World {
    let mut world = fixture::settled(cluster);
    let minute_ago = fixture::now() - SignedDuration::from_mins(1);
    for pod in world.pods.values_mut() {
        (pod.containers_ready, pod.ready) = (false, false);
        pod.started = Some(minute_ago);
        pod.trouble = Some("sidecar: CrashLoopBackOff".into());
        pod.revision = Some(Revision("earlier".into()));
    }
    world
}

#[test]
fn a_server_beside_a_crashing_sidecar_is_restarted_with_all_care() {
    let cluster = three();
    let world = crashing_sidecars(&cluster);
    let mut critical = world.clone();
    fixture::pd_of(&mut critical).critical = Some([(crate::world::StoreId(1), 4)].into());
    holds(&REGION_QUORUM_SURVIVES, &cluster, &critical, &restart(Slot::tikv(0)));
    let mut going = world.clone();
    going.pods.get_mut(&Slot::tikv(1)).expect("a pod").deleting_since = Some(fixture::now());
    holds(&CALM_FIRST, &cluster, &going, &restart(Slot::tikv(0)));
    holds(&PD_RESTARTS_ONE_AT_A_TIME, &cluster, &going, &restart(Slot::pd(2)));
    // One at a time, and the crash of the others' sidecars is in nobody's way.
    assert_eq!(taken(&plan(&cluster, &world)), ["c-pd-2"]);
    assert_eq!(taken(&plan(&cluster, &going)), Vec::<&str>::new());
    let mut stores = world.clone();
    for (slot, pod) in &mut stores.pods {
        if slot.component == Component::Pd {
            *pod = fixture::pod(&cluster, *slot);
        }
    }
    fixture::pd_of(&mut stores).evicting = (1..4).map(crate::world::StoreId).collect();
    assert_eq!(taken(&plan(&cluster, &stores)), ["c-tikv-2"]);
    // Heard last before its present container started: it does not serve.
    let mut ended = world;
    let pod = ended.pods.get_mut(&Slot::tikv(0)).expect("a pod");
    pod.started = Some(fixture::now());
    allows(&CALM_FIRST, &cluster, &ended, &restart(Slot::tikv(0)));
}

#[test]
fn s16_a_stop_that_has_to_wait_switches_no_guard_off() {
    let cluster = fixture::cluster(json!({"suspendAction": {"suspendStatefulSet": true}}));
    let mut world = fixture::settled(&cluster);
    for slot in [Slot::pd(0), Slot::pd(1), Slot::pd(2)] {
        world.pods.get_mut(&slot).expect("a pod").revision = Some(Revision("earlier".into()));
    }
    fixture::pd_of(&mut world).members.values_mut().for_each(|member| member.healthy = false);
    allows(&PD_QUORUM_SURVIVES, &cluster, &world, &restart(Slot::pd(1)));
    // A store is leaving: the stop waits, so the pods are needed.
    world.volumes.get_mut("tikv-c-tikv-2").expect("a volume").marks.leaving =
        Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    holds(&PD_QUORUM_SURVIVES, &cluster, &world, &restart(Slot::pd(1)));
    holds(&PD_RESTARTS_ONE_AT_A_TIME, &cluster, &world, &restart(Slot::pd(1)));
    holds(&CALM_FIRST, &cluster, &world, &restart(Slot::tikv(1)));
    assert_eq!(taken(&plan(&cluster, &world)), Vec::<&str>::new());
}

#[test]
fn s16_an_update_that_is_half_done_ends_before_the_stop() {
    let cluster = fixture::cluster(json!({"suspendAction": {"suspendStatefulSet": true}}));
    let mut world = fixture::settled(&cluster);
    fixture::accept(&cluster, &mut world);
    fixture::pd_of(&mut world).evicting = [crate::world::StoreId(1)].into();
    world.pods.get_mut(&Slot::tikv(0)).expect("a pod").revision = Some(Revision("earlier".into()));
    world.processes.insert(
        crate::world::StoreId(1),
        crate::world::StoreProcess { leaders: Some(0), config: None },
    );
    assert_eq!(taken(&plan(&cluster, &world)), ["c-tikv-0"]);
}

#[test]
fn a_store_that_pd_calls_up_may_serve_whatever_our_clock_says() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let slot = Slot::tikv(0);
    let pod = world.pods.get_mut(&slot).expect("a pod");
    (pod.containers_ready, pod.ready) = (false, false);
    // The operator's clock is 90 minutes ahead of PD's.
    world.now += SignedDuration::from_mins(90);
    fixture::pd_of(&mut world).critical = Some([(crate::world::StoreId(1), 4)].into());
    holds(&REGION_QUORUM_SURVIVES, &cluster, &world, &restart(slot));
    let store = fixture::pd_of(&mut world).stores.get_mut(&crate::world::StoreId(1));
    store.expect("a store").state = crate::world::StoreState::Disconnected;
    allows(&REGION_QUORUM_SURVIVES, &cluster, &world, &restart(slot));
}
