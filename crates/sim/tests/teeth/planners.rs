//! Operators that take wrong steps: the real plan with something added, left out or turned round.

use tikv_operator_core::build;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Plan, Step, plan};
use tikv_operator_core::world::{
    Component, Kind, ObjectKey, PdFacts, PdView, Slot, StoreState, Uid, VolumeFacts, VolumeMarks,
    World,
};

fn pd(world: &World) -> Option<&PdFacts> {
    match &world.pd {
        PdView::Known(facts) => Some(facts),
        PdView::NotCreated | PdView::Unreachable { .. } => None,
    }
}

fn without(cluster: &Cluster, world: &World, dropped: impl Fn(&Step) -> bool) -> Plan {
    let mut plan = plan(cluster, world);
    plan.steps.retain(|step| !dropped(step));
    plan
}

fn delete_pod(world: &World, slot: Slot) -> Option<Step> {
    let pod = world.pods.get(&slot)?;
    let (name, reason) = (slot.pod_name(&world.resource.name), "a whim".to_owned());
    Some(Step::DeletePod { name, uid: pod.uid.clone(), reason })
}

fn mark(name: &str, volume: &VolumeFacts, marks: VolumeMarks) -> Step {
    Step::MarkVolume { name: name.to_owned(), uid: volume.uid.clone(), marks }
}

/// The state that PD gives the store on a volume.
fn state(world: &World, volume: &VolumeFacts) -> Option<StoreState> {
    let store = pd(world)?.stores.get(&volume.marks.store?)?;
    Some(store.state)
}

pub(crate) fn gives_no_uids(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    for step in &mut plan.steps {
        match step {
            Step::Apply { uid, .. }
            | Step::Prune { uid, .. }
            | Step::MarkVolume { uid, .. }
            | Step::DeletePod { uid, .. }
            | Step::DeleteVolume { uid, .. } => *uid = Uid(String::new()),
            _ => {}
        }
    }
    plan
}

pub(crate) fn takes_over_what_is_not_ours(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    for key in world.strangers.keys().filter(|key| key.kind == Kind::Service) {
        plan.steps.insert(0, Step::Prune { key: key.clone(), uid: Uid(String::new()) });
    }
    plan
}

pub(crate) fn starts_afresh_by_deleting_volumes(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    for (name, volume) in &world.volumes {
        if volume.slot.component == Component::Tikv && !world.pods.contains_key(&volume.slot) {
            plan.steps.push(Step::DeleteVolume {
                name: name.clone(),
                uid: volume.uid.clone(),
                version: volume.version.clone(),
            });
        }
    }
    plan
}

pub(crate) fn restarts_everything_at_once(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    if cluster.generation > 1 && pd(world).is_some() {
        let ready = world.pods.iter().filter(|(_, pod)| pod.containers_ready);
        plan.steps.extend(ready.filter_map(|(slot, _)| delete_pod(world, *slot)));
    }
    plan
}

pub(crate) fn restarts_for_no_reason(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    if plan.steps.is_empty() && plan.waits.is_empty() {
        plan.steps.extend(delete_pod(world, Slot::tikv(0)));
    }
    plan
}

pub(crate) fn says_nothing_while_it_waits(cluster: &Cluster, world: &World) -> Plan {
    Plan { waits: Vec::new(), ..plan(cluster, world) }
}

pub(crate) fn never_lets_go_of_a_resource(cluster: &Cluster, world: &World) -> Plan {
    without(cluster, world, |step| *step == Step::ReleaseFinalizer)
}

pub(crate) fn does_not_restore_services(cluster: &Cluster, world: &World) -> Plan {
    let known = world.resource.status.cluster_id.is_some();
    without(
        cluster,
        world,
        |step| matches!(step, Step::Create(o) if known && o.key.kind == Kind::Service),
    )
}

pub(crate) fn never_ends_an_eviction(cluster: &Cluster, world: &World) -> Plan {
    without(cluster, world, |step| matches!(step, Step::StopEvicting { .. }))
}

pub(crate) fn never_unlocks(cluster: &Cluster, world: &World) -> Plan {
    without(cluster, world, |step| matches!(step, Step::UnlockMaintenance { .. }))
}

pub(crate) fn writes_no_intent(cluster: &Cluster, world: &World) -> Plan {
    // It believes that it did, or it would never act.
    let mut believed = world.clone();
    for volume in believed.volumes.values_mut().filter(|volume| volume.main) {
        let store = volume.marks.store.filter(|_| volume.marks.evicting.is_none());
        if store.is_some() {
            volume.marks.evicting = Some("restart".to_owned());
        }
    }
    without(
        cluster,
        &believed,
        |step| matches!(step, Step::MarkVolume { marks, .. } if marks.evicting.is_some()),
    )
}

pub(crate) fn retires_what_is_still_offline(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    for (name, volume) in world.volumes.iter().filter(|(_, volume)| !volume.marks.retired) {
        if state(world, volume) == Some(StoreState::Offline) {
            let retired_since = Some(world.now);
            let marks = VolumeMarks { retired: true, retired_since, ..VolumeMarks::default() };
            plan.steps.push(mark(name, volume, marks));
        }
    }
    plan
}

pub(crate) fn takes_pods_before_they_are_drained(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    let leaving = world.volumes.values().filter(|volume| volume.main);
    let leaving = leaving.filter(|volume| state(world, volume) == Some(StoreState::Offline));
    plan.steps.extend(leaving.filter_map(|volume| delete_pod(world, volume.slot)));
    plan
}

pub(crate) fn begins_at_the_end(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    plan.steps.reverse();
    plan
}

pub(crate) fn removes_pd_members_that_do_not_answer(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    let members = pd(world).into_iter().flat_map(|pd| pd.members.values());
    let silent = members.filter(|member| !member.healthy && !member.name.is_empty());
    plan.steps.extend(
        silent.map(|member| Step::RemovePdMember { id: member.id, name: member.name.clone() }),
    );
    plan
}

pub(crate) fn removes_silent_stores(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    let stores = pd(world).into_iter().flat_map(|pd| pd.stores.values());
    let silent = stores.filter(|store| store.state == StoreState::Disconnected);
    plan.steps
        .extend(silent.map(|s| Step::OfflineStore { store: s.id, address: s.address.clone() }));
    plan
}

pub(crate) fn passes_leadership_round(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    let Some(facts) = pd(world) else { return plan };
    let others = facts.members.values().filter(|member| member.id != facts.leader.id);
    plan.steps.extend(others.take(1).map(|m| Step::TransferPdLeader { to: m.name.clone() }));
    plan
}

pub(crate) fn mounts_one_volume_twice(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    for step in &mut plan.steps {
        let Step::Create(object) = step else { continue };
        if object.key != ObjectKey::new(Kind::Pod, "c-tikv-1") {
            continue;
        }
        let volumes = object.body.pointer_mut("/spec/volumes").and_then(|v| v.as_array_mut());
        for volume in volumes.into_iter().flatten() {
            if let Some(claim) = volume.pointer_mut("/persistentVolumeClaim/claimName") {
                *claim = serde_json::json!("tikv-c-tikv-0");
            }
        }
    }
    plan
}

pub(crate) fn undoes_what_users_began(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    let evicted = pd(world).into_iter().flat_map(|pd| pd.evicting.iter());
    plan.steps.extend(evicted.map(|store| Step::StopEvicting { store: *store }));
    plan
}

pub(crate) fn prunes_the_configuration_in_use(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    let maps = world.objects.iter().filter(|(key, _)| key.kind == Kind::ConfigMap);
    plan.steps
        .extend(maps.map(|(key, facts)| Step::Prune { key: key.clone(), uid: facts.uid.clone() }));
    plan
}

pub(crate) fn makes_pods_with_the_new_image(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    for step in &mut plan.steps {
        let Step::Create(object) = step else { continue };
        let slot = Slot::of_pod(cluster.name.as_str(), &object.key.name);
        if let Some(slot) = slot.filter(|_| object.key.kind == Kind::Pod) {
            *object = build::pod(cluster, slot);
        }
    }
    plan
}
