//! Does every slot have its volume and its pod, and do they carry what we know of them?

use std::collections::BTreeSet;

use jiff::SignedDuration;
use tikv_operator_api::names;

use super::draft::Draft;
use super::rows::Member;
use super::{Identity, Scene, Step, gate, scale_out};
use crate::build;
use crate::rules;
use crate::world::{Component, PdView, PodFacts, Slot, StoreState, VolumeFacts, VolumeMarks};

/// Makes the missing volumes and pods, PD first, lowest ordinal first.
pub(super) fn fill(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for component in Component::ALL.into_iter().filter(|c| !scene.suspending(*c)) {
        let later = scale_out::later(scene, component, draft);
        let wanted: Vec<Slot> =
            scene.wanted(component).filter(|slot| !later.contains(slot)).collect();
        let ready: Vec<Slot> =
            wanted.iter().copied().filter(|slot| make_volumes(scene, *slot, draft)).collect();
        if all_first_volumes(scene, component, wanted.len(), ready.len(), draft) {
            for slot in ready {
                make_pod(scene, slot, draft);
            }
        }
    }
    if let (Identity::Known(id), true) = (&scene.identity, pd_is_lost(scene)) {
        let detail = scene.pd_lost(*id);
        draft.wait(scene.name(), &rules::NEVER_BOOTSTRAP_TWICE, detail);
    }
}

fn pd_is_lost(scene: &Scene<'_>) -> bool {
    let volume_left =
        scene.world.volumes.values().any(|v| {
            v.main && v.slot.component == Component::Pd && !v.marks.retired && !v.deleting
        });
    !volume_left && !matches!(scene.world.pd, PdView::Known(_))
}

/// The first PD pods wait for the volumes of all of them. etcd lists every first member by name as
/// soon as two of three have met; a volume made after that would look like one that was lost.
fn all_first_volumes(
    scene: &Scene<'_>,
    component: Component,
    wanted: usize,
    ready: usize,
    draft: &mut Draft<'_>,
) -> bool {
    let first = component == Component::Pd && matches!(scene.identity, Identity::Starting(_));
    if !first || wanted == ready {
        return true;
    }
    let detail = format!("the first PD pods start when all {wanted} PD volumes exist");
    !draft.holds(scene.name(), &rules::FIRST_VOLUMES_FIRST, detail)
}

/// The pod of a slot, unless there is one.
pub(super) fn make_pod(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) {
    if has_left(scene, slot) {
        return;
    }
    let name = || slot.pod_name(scene.name());
    match scene.member(slot).pod {
        None if is_let_go(scene, slot, draft) => {}
        None => {
            draft.propose(name(), Step::Create(gate::pod(scene, slot)));
        }
        Some(pod) if pod.deleting_since.is_some() => {
            let name = name();
            let detail = format!("{name} is made again when its earlier pod is gone");
            if !draft.holds(&name, &rules::POD_GOING_AWAY, detail) {
                draft.propose(name, Step::Create(gate::pod(scene, slot)));
            }
        }
        Some(_) => {}
    }
}

/// PD is about to let this member go: its pod is not made again for that moment. While a rule holds
/// the removal the member is needed, and its pod with it.
fn is_let_go(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) -> bool {
    let member = scene.member(slot);
    let marked = member.volume.is_some_and(|volume| volume.marks.leaving.is_some());
    let Some(listed) = member.listed.filter(|_| marked) else { return false };
    let removal = Step::RemovePdMember { id: listed.id, name: listed.name.clone() };
    draft.passes(listed.name.clone(), &removal)
}

/// The store of this slot is on its way out and PD lists none here: it never registered one, or it
/// is a tombstone already. Its pod is not made again, nor over a volume that is given up.
fn has_left(scene: &Scene<'_>, slot: Slot) -> bool {
    let member = scene.member(slot);
    if slot.component == Component::Tikv && member.volume.is_some_and(|v| v.marks.retired) {
        return true;
    }
    slot.component == Component::Tikv
        && scene.pd().is_some()
        && member.store.is_none()
        && member.volume.is_some_and(|volume| volume.marks.leaving.is_some())
}

/// Proposes the slot's missing volumes. True when all exist or are made by this plan.
///
/// Also while the pod runs: a claim that is being deleted under it is worth saying before the pod
/// goes.
fn make_volumes(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) -> bool {
    if has_volumes(scene, slot) {
        return true;
    }
    let mut complete = true;
    for claim in build::claims(scene.cluster, slot, &first_marks(scene, slot)) {
        let name = claim.key.name.clone();
        match scene.world.volumes.get(&name) {
            None => complete &= draft.propose(name, Step::Create(claim)),
            Some(facts) if facts.deleting => {
                let detail = format!("{name} is being deleted; {slot} waits until it is gone");
                complete &= !draft.holds(name, &rules::VOLUME_GOING_AWAY, detail);
            }
            Some(_) => {}
        }
    }
    complete
}

/// All claims of the slot stand: the usual case, seen without building any.
fn has_volumes(scene: &Scene<'_>, slot: Slot) -> bool {
    let stands = |volume: &VolumeFacts| !volume.deleting;
    let extra = |name: &str| {
        let claim = names::extra_volume(scene.name(), slot.component, name, slot.ordinal);
        scene.world.volumes.get(&claim).is_some_and(stands)
    };
    scene.world.strangers.is_empty()
        && scene.member(slot).volume.is_some_and(stands)
        && scene.common(slot.component).volumes.iter().all(|volume| extra(&volume.name))
}

/// What a new volume carries from its first moment.
pub(super) fn first_marks(scene: &Scene<'_>, slot: Slot) -> VolumeMarks {
    let mut marks =
        VolumeMarks { resource: Some(scene.world.resource.uid.clone()), ..VolumeMarks::default() };
    match (&scene.identity, slot.component) {
        (Identity::Known(id), Component::Pd | Component::Tikv) => marks.cluster = Some(*id),
        (Identity::Starting(record), Component::Pd) => marks.bootstrap = Some(record.clone()),
        (Identity::Starting(_), Component::Tikv)
        | (Identity::Unborn | Identity::Conflict(_), Component::Pd | Component::Tikv) => {}
    }
    marks
}

/// Writes on volumes what has become known, and on store pods whether the store is Up.
pub(super) fn mark(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for (name, volume) in &scene.world.volumes {
        let unknown = scene.unmarked_claim(volume.slot).is_some();
        if volume.marks.retired || volume.deleting || unknown {
            continue;
        }
        let marks = news(scene, volume);
        if marks != VolumeMarks::default() {
            let uid = volume.uid.clone();
            draft.propose(name.clone(), Step::MarkVolume { name: name.clone(), uid, marks });
        }
    }
    for slot in scene.wanted(Component::Tikv) {
        set_store_up(scene, slot, draft);
    }
}

/// The marks that are known and not yet on the volume; all unset when there is nothing to write.
fn news(scene: &Scene<'_>, volume: &VolumeFacts) -> VolumeMarks {
    let Identity::Known(id) = &scene.identity else {
        return VolumeMarks::default();
    };
    let member = scene.member(volume.slot);
    let news = VolumeMarks {
        cluster: differs(Some(*id), volume.marks.cluster),
        store: differs(member.store.map(|s| s.id), volume.marks.store),
        // Healthy means that it has its data directory: `Scene::pd_start` relies on that.
        member: differs(member.listed.filter(|m| m.healthy).map(|m| m.id), volume.marks.member),
        watched_since: scene.watch_is_broken(volume).then_some(scene.world.now),
        extra: extra_news(scene, &member, volume),
        written_by: version_news(&member, volume),
        node: node_news(scene, &member, volume),
        ..VolumeMarks::default()
    };
    let ours = volume.marks.resource.as_ref() == Some(&scene.world.resource.uid);
    if ours {
        news
    } else {
        VolumeMarks { resource: Some(scene.world.resource.uid.clone()), ..news }
    }
}

/// The additional volumes that the member runs with.
fn extra_news(
    scene: &Scene<'_>,
    member: &Member<'_>,
    volume: &VolumeFacts,
) -> Option<BTreeSet<String>> {
    let component = volume.slot.component;
    let known = member.store.is_some() || member.listed.is_some_and(|m| m.healthy);
    let runs = |pod: &PodFacts| pod.containers_ready && scene.is_current(component, pod);
    if !volume.main || !known || !member.pod.is_some_and(runs) || !has_volumes(scene, volume.slot) {
        return None;
    }
    let volumes = &scene.common(component).volumes;
    let used: BTreeSet<String> = volumes.iter().map(|volume| volume.name.clone()).collect();
    let marked = volume.marks.extra.as_ref();
    (marked.map_or(!used.is_empty(), |marked| *marked != used)).then_some(used)
}

/// The version that writes the data now, as PD heard it.
fn version_news(member: &Member<'_>, volume: &VolumeFacts) -> Option<String> {
    let listed = member.listed.filter(|m| m.healthy).map(|m| &m.version);
    let version = member.store.map(|store| &store.version).or(listed);
    let version = version.filter(|version| volume.main && !version.is_empty())?;
    (volume.marks.written_by.as_ref() != Some(version)).then(|| version.clone())
}

/// The node that the slot's pod is bound to, once PD knows the member: so it costs no write of its
/// own. A pod that has gone from a node that answers has ended there; where none is made in its
/// place for long, the mark goes as well, so that the node may go too.
fn node_news(scene: &Scene<'_>, member: &Member<'_>, volume: &VolumeFacts) -> Option<String> {
    if member.pod.is_none() && scene.suspending(volume.slot.component) {
        let left = scene.world.node_of(volume.slot).filter(|_| volume.marks.node.is_some());
        return left.is_some_and(|node| !node.is_lost()).then(String::new);
    }
    let known = member.store.is_some() || member.listed.is_some_and(|m| m.healthy);
    let node = member.pod.and_then(|pod| pod.node.as_ref()).filter(|_| known && volume.main)?;
    (volume.marks.node.as_ref() != Some(node)).then(|| node.clone())
}

/// What is known, if it is not what is marked.
fn differs<T: PartialEq + Copy>(known: Option<T>, marked: Option<T>) -> Option<T> {
    if known == marked { None } else { known }
}

/// A new PD leader calls each store Disconnected until its next heartbeat, which comes every 10 s:
/// all gates would close and open again at each change of the leader.
const STORES_ARE_HEARD: SignedDuration = SignedDuration::from_secs(20);

fn set_store_up(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) {
    let member = scene.member(slot);
    let (Some(pod), Some(pd)) = (member.pod, scene.pd()) else {
        return;
    };
    if !pd.bootstrapped && pod.store_up_gate.is_none() {
        return;
    }
    let up = pod.containers_ready && member.store.is_some_and(|s| s.state == StoreState::Up);
    let unheard = member.store.is_some_and(|s| s.state == StoreState::Disconnected);
    let new_leader = pd.leader.changed && pd.leader.seen_for < STORES_ARE_HEARD;
    if pod.containers_ready && unheard && new_leader {
        return;
    }
    // An unset gate counts as false, so false is written only over true.
    if up != pod.store_up_gate.unwrap_or(false) {
        let name = slot.pod_name(scene.name());
        let uid = pod.uid.clone();
        draft.propose(name.clone(), Step::SetStoreUp { pod: name, uid, up });
    }
}
