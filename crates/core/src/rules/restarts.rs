//! When may a pod that runs be taken down to come back?
//!
//! The guards look at the deletion of a pod whose server runs and whose member PD may rely on.
//! A pod that does not run, or whose store PD has let go, takes nothing away; neither does anything
//! matter when the whole cluster is going or the component is to stop.

use std::borrow::Cow;

use jiff::SignedDuration;

use super::guards::Verdict;
use crate::cluster::Version;
use crate::plan::{Member, Scene, Step, calm, maintenance, pd_unfinished, version_made};
use crate::world::{Component, PdFacts, PodFacts, PodPhase, Slot, StoreFacts, Symptom};

/// Of 100 regions, this many must have told the leader who leads them. Not all: regions split and
/// elect while PD counts.
const REGIONS_HEARD: u64 = 95;

/// A container that ran is given so long to come back before its pod counts as broken.
const A_RESTART_TAKES: SignedDuration = SignedDuration::from_secs(30);

/// The slot whose running pod the step takes down.
pub(super) fn taken(step: &Step, scene: &Scene<'_>) -> Option<Slot> {
    let Step::DeletePod { name, .. } = step else { return None };
    let slot = Slot::of_pod(scene.name(), name)?;
    let going = scene.world.resource.deleting_since.is_some();
    // A stop that has to wait leaves everything as it is.
    if going || scene.suspending(slot.component) {
        return None;
    }
    let member = scene.member(slot);
    let stays = member.pod.is_some_and(|pod| pod.deleting_since.is_none());
    (stays && calm::may_serve(scene, &member)).then_some(slot)
}

/// As [`taken`], for stores, with PD's word on them.
fn taken_store<'a>(
    step: &Step,
    scene: &Scene<'a>,
) -> Result<Option<(&'a PdFacts, &'a StoreFacts)>, String> {
    let Some(slot) = taken(step, scene).filter(|slot| slot.component == Component::Tikv) else {
        return Ok(None);
    };
    let name = slot.pod_name(scene.name());
    let pd = scene.pd().ok_or_else(|| {
        format!("{name} stays: PD does not answer, so nobody knows which regions need it")
    })?;
    Ok(scene.member(slot).store.map(|store| (pd, store)))
}

/// Regions have at most two replicas, by what PD keeps and by the stores that there are, so every
/// restart takes some away, and is wanted. What the spec asks for may be far from it.
fn without_redundancy(pd: &PdFacts) -> bool {
    pd.max_replicas.is_some_and(|max| max <= 2) || pd.live_stores().count() <= 2
}

pub(super) fn region_quorum_survives(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some((pd, store)) = taken_store(step, scene)? else { return Ok(()) };
    if without_redundancy(pd) {
        return Ok(());
    }
    let id = store.id;
    match pd.critical.as_ref().map(|critical| critical.get(&id).copied().unwrap_or_default()) {
        Some(0) => Ok(()),
        Some(regions) => Err(format!(
            "{regions} regions would lose their quorum without store {id}; it waits until their \
             other replicas are healthy"
        )),
        None => {
            Err(format!("PD did not say which regions would lose their quorum without store {id}"))
        }
    }
}

pub(super) fn calm_first(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(slot) = taken(step, scene).filter(|slot| slot.component == Component::Tikv) else {
        return Ok(());
    };
    if scene.pd().is_some() && scene.member(slot).store.is_none() {
        return Ok(());
    }
    match calm::disturbance(scene, &[slot]) {
        None => Ok(()),
        Some(words) => Err(format!("{} stays: {words}", slot.pod_name(scene.name()))),
    }
}

pub(super) fn pd_knows_all_regions(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some((pd, _)) = taken_store(step, scene)? else { return Ok(()) };
    if pd.leader.is_new() {
        return Err("PD's leader changed less than a minute ago".to_owned());
    }
    let led: u64 = pd.live_stores().map(|store| store.leaders).sum();
    if pd.regions == 0 || led.saturating_mul(100) < pd.regions.saturating_mul(REGIONS_HEARD) {
        return Err(format!("PD has heard of the leaders of {led} of {} regions", pd.regions));
    }
    Ok(())
}

/// The member that a step takes down to come back, whether it serves or not, and its pod.
fn made_anew<'a>(step: &Step, scene: &Scene<'a>) -> Option<(Member<'a>, &'a PodFacts)> {
    let Step::DeletePod { name, .. } = step else { return None };
    let slot = Slot::of_pod(scene.name(), name)?;
    let all_go = scene.world.resource.deleting_since.is_some() || scene.suspending(slot.component);
    let member = scene.member(slot);
    let leaves = member.volume.is_none_or(|v| v.marks.retired || v.marks.leaving.is_some());
    let pod = member.pod.filter(|_| !all_go && !leaves)?;
    Some((member, pod))
}

pub(super) fn restart_waits_for_node(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some((member, pod)) = made_anew(step, scene) else { return Ok(()) };
    let ended = matches!(pod.phase, PodPhase::Failed | PodPhase::Succeeded);
    match pod.node.as_ref().filter(|_| !ended && scene.is_unheard(pod)) {
        Some(node) => Err(format!(
            "{} stays: its node {node} is not heard, so it would go when the node is back, and may \
             run until then",
            member.slot.pod_name(scene.name())
        )),
        None => Ok(()),
    }
}

pub(super) fn process_may_return(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some((member, pod)) = made_anew(step, scene) else { return Ok(()) };
    let (slot, name) = (member.slot, member.slot.pod_name(scene.name()));
    let ended = pod.has_run && pod.phase == PodPhase::Running && !calm::serves(scene, &member);
    if ended && scene.world.seen_for(&Symptom::PodNotRunning(slot)) < A_RESTART_TAKES {
        return Err(format!(
            "{name} ran a moment ago and its process may come back: it is made anew when it has not \
             run for {} s",
            A_RESTART_TAKES.as_secs()
        ));
    }
    Ok(())
}

pub(super) fn maintenance_lock_held(step: &Step, scene: &Scene<'_>) -> Verdict {
    let (Some(slot), Some(pd)) = (taken(step, scene), scene.pd()) else { return Ok(()) };
    match maintenance::held(scene, pd) {
        Some(why) => Err(format!("{} stays: {why}", slot.pod_name(scene.name()))),
        None => Ok(()),
    }
}

/// The pod that is taken down to come back, or made, and the version that it would run: the spec's, or
/// the one of before while a task holds the upgrade.
fn renewed<'a>(step: &Step, scene: &Scene<'a>) -> Option<(Slot, Cow<'a, Version>)> {
    if let Some(slot) = super::guards::created_pod(step, scene) {
        return Some((slot, version_made(scene, slot)));
    }
    let slot = taken(step, scene)?;
    Some((slot, Cow::Borrowed(&scene.common(slot.component).version)))
}

pub(super) fn no_downgrade(step: &Step, scene: &Scene<'_>) -> Verdict {
    let renewed = renewed(step, scene).filter(|(slot, _)| slot.component == Component::Tikv);
    let Some((slot, wanted)) = renewed else { return Ok(()) };
    let Some(pd) = scene.pd() else { return blind_downgrade(scene, slot, &wanted) };
    // PD's cluster version: the oldest store's. It rises when the last store is upgraded, and PD
    // refuses stores of an earlier minor version from then on.
    let running = pd.live_stores().map(|store| release(&store.version));
    let oldest = running.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min());
    match (release(wanted.as_str()), oldest) {
        (Some(wanted_release), Some(oldest)) if wanted_release < oldest => Err(format!(
            "PD refuses a store of version {wanted}: all stores run {}.{} or later. Set the version \
             to v{}.{} or later again; an earlier one needs a new cluster and a restore",
            oldest.0, oldest.1, oldest.0, oldest.1
        )),
        (Some(_) | None, _) => Ok(()),
    }
}

/// PD would say whether it takes an earlier version; without its word what wrote the data decides.
fn blind_downgrade(scene: &Scene<'_>, slot: Slot, wanted: &Version) -> Verdict {
    let written = scene.member(slot).volume.and_then(|volume| volume.marks.written_by.as_ref());
    let Some(written) = written else { return Ok(()) };
    match (release(wanted.as_str()), release(written)) {
        (Some(wanted_release), Some(earlier)) if wanted_release < earlier => Err(format!(
            "{} is started with {wanted} when PD answers: its data were written by {written}",
            slot.pod_name(scene.name())
        )),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// Pods that are not made before the other component has another version
/// (`pd-not-older-than-tikv`): that one must not wait for them in its turn.
pub(crate) fn waits_for_version(scene: &Scene<'_>, slot: Slot) -> bool {
    scene.member(slot).pod.is_none()
        && scene.pd().is_some_and(|pd| versions_fit(pd, slot, &version_made(scene, slot)).is_err())
}

pub(super) fn pd_not_older_than_tikv(step: &Step, scene: &Scene<'_>) -> Verdict {
    match (renewed(step, scene), scene.pd()) {
        (Some((slot, version)), Some(pd)) => versions_fit(pd, slot, &version),
        (Some(_) | None, _) => Ok(()),
    }
}

fn versions_fit(pd: &PdFacts, slot: Slot, wanted: &Version) -> Verdict {
    let Some(wanted_release) = release(wanted.as_str()) else { return Ok(()) };
    match slot.component {
        Component::Pd => {
            let newest = pd.live_stores().filter_map(|store| release(&store.version)).max();
            match newest.filter(|newest| wanted_release < *newest) {
                Some(newest) => Err(format!(
                    "PD stays above {wanted} while stores run {}.{}",
                    newest.0, newest.1
                )),
                None => Ok(()),
            }
        }
        Component::Tikv => {
            let oldest = pd.members.values().filter_map(|member| release(&member.version)).min();
            match oldest.filter(|oldest| wanted_release > *oldest) {
                Some(oldest) => Err(format!(
                    "TiKV {wanted} waits for PD, of which a member runs {}.{}; set spec.pd.version \
                     where it has one of its own",
                    oldest.0, oldest.1
                )),
                None => Ok(()),
            }
        }
    }
}

/// Major and minor of a version, where it has an order.
fn release(version: &str) -> Option<(u64, u64)> {
    Version::parse(version).semver().map(|(major, minor, _)| (major, minor))
}

/// The stores run a later release than the spec asks for, so TiKV goes back before PD does.
fn goes_back(scene: &Scene<'_>) -> bool {
    let wanted = release(scene.cluster.tikv.common.version.as_str());
    let newest =
        scene.pd().and_then(|pd| pd.live_stores().filter_map(|s| release(&s.version)).max());
    wanted.zip(newest).is_some_and(|(wanted, newest)| wanted < newest)
}

pub(super) fn pd_before_tikv(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(slot) = taken(step, scene).filter(|slot| slot.component == Component::Tikv) else {
        return Ok(());
    };
    match pd_unfinished(scene).filter(|_| !goes_back(scene)) {
        Some(words) => Err(format!("{} waits for PD: {words}", slot.pod_name(scene.name()))),
        None => Ok(()),
    }
}
