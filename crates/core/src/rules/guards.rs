//! When does a rule hold a step? One function per rule; each reads as a sentence.

use serde_json::Value;
use tikv_operator_api::{labels, names};

use super::restarts;
use crate::build::PdStart;
use crate::plan::{Identity, Scene, Step};
use crate::world::{Component, Kind, ObjectKey, PdView, Slot, VolumeFacts};

pub(super) type Verdict = Result<(), String>;

/// The object that a step would make, if it makes one.
fn created(step: &Step) -> Option<&ObjectKey> {
    let Step::Create(object) = step else {
        return None;
    };
    Some(&object.key)
}

/// The slot whose pod a step would make.
pub(super) fn created_pod(step: &Step, scene: &Scene<'_>) -> Option<Slot> {
    let key = created(step).filter(|key| key.kind == Kind::Pod)?;
    Slot::of_pod(scene.name(), &key.name)
}

/// The slot whose main volume a step would make.
pub(super) fn created_volume(step: &Step, scene: &Scene<'_>) -> Option<Slot> {
    let key = created(step).filter(|key| key.kind == Kind::PersistentVolumeClaim)?;
    Slot::of_claim(scene.name(), &key.name)
}

pub(super) fn one_cluster_id(step: &Step, scene: &Scene<'_>) -> Verdict {
    match (&scene.identity, step) {
        // Letting go of the resource touches no data.
        (_, Step::ReleaseFinalizer) => Ok(()),
        (Identity::Conflict(who), _) => Err(who.clone()),
        (Identity::Known(known), Step::RecordClusterId(id)) if known != id => {
            Err(format!("the cluster id is {known}, not {id}"))
        }
        // An id is written down for ever, so it must be one that PD or a volume names.
        (Identity::Unborn | Identity::Starting(_), Step::RecordClusterId(id)) => {
            Err(format!("neither PD nor a volume names {id}"))
        }
        (Identity::Known(_), step) if writes_id(step) => scene.hearsay().map_or(Ok(()), Err),
        (Identity::Unborn | Identity::Starting(_) | Identity::Known(_), _) => Ok(()),
    }
}

/// Does the step write the cluster id somewhere, or this resource's uid beside one?
fn writes_id(step: &Step) -> bool {
    let makes_volume = created(step).is_some_and(|key| key.kind == Kind::PersistentVolumeClaim);
    makes_volume || matches!(step, Step::RecordClusterId(_) | Step::MarkVolume { .. })
}

pub(super) fn foreign_object(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(key) = created(step) else {
        return comes_back(step, scene);
    };
    match scene.world.strangers.get(key) {
        Some(whose) if key.kind == Kind::PersistentVolumeClaim => Err(format!(
            "{key} exists and is not ours ({whose}); it may hold data: put our labels back on it, \
             move it away, or choose another cluster name"
        )),
        Some(whose) => Err(format!(
            "{key} exists and is not ours ({whose}); delete or rename it, or choose another \
             cluster name"
        )),
        None => Ok(()),
    }
}

/// A pod that runs and is to come back stays where one of its claims is not ours: it would not be made
/// again.
fn comes_back(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(slot) = restarts::taken(step, scene) else { return Ok(()) };
    let leaves =
        scene.member(slot).volume.is_some_and(|v| v.marks.retired || v.marks.leaving.is_some());
    let main = slot.claim_name(scene.name());
    let extra = scene.common(slot.component).volumes.iter().map(|volume| {
        names::extra_volume(scene.name(), slot.component, &volume.name, slot.ordinal)
    });
    let mut claims = [main].into_iter().chain(extra);
    let strange = claims.find_map(|claim| {
        let key = ObjectKey::new(Kind::PersistentVolumeClaim, claim);
        scene.world.strangers.get(&key).map(|whose| format!("{key} is not ours ({whose})"))
    });
    match strange.filter(|_| !leaves) {
        None => Ok(()),
        Some(words) => Err(format!(
            "{words}, and {} would not be made again without it: put our labels on it",
            slot.pod_name(scene.name())
        )),
    }
}

pub(super) fn bootstrap_once(step: &Step, scene: &Scene<'_>) -> Verdict {
    let (Some(slot), Identity::Starting(record)) = (created_pod(step, scene), &scene.identity)
    else {
        return Ok(());
    };
    if slot.component == Component::Pd && !record.members.contains(&slot.ordinal) {
        return Err(format!("{slot} is not among the recorded first PD members"));
    }
    Ok(())
}

pub(super) fn never_bootstrap_twice(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Identity::Known(id) = &scene.identity else {
        return Ok(());
    };
    let bootstraps = matches!(step, Step::RecordBootstrap(_));
    let makes_pd = [created_pod(step, scene), created_volume(step, scene)]
        .into_iter()
        .flatten()
        .any(|slot| slot.component == Component::Pd);
    let pd_remains =
        usable_pd_volumes(scene).next().is_some() || matches!(scene.world.pd, PdView::Known(_));
    if bootstraps || (makes_pd && !pd_remains) {
        return Err(scene.pd_lost(*id));
    }
    Ok(())
}

fn usable_pd_volumes<'a>(scene: &Scene<'a>) -> impl Iterator<Item = &'a VolumeFacts> {
    let world = scene.world;
    world
        .volumes
        .values()
        .filter(|v| v.main && v.slot.component == Component::Pd && !v.marks.retired && !v.deleting)
}

pub(super) fn cluster_id_before_stores(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(slot) = created_pod(step, scene).filter(|s| s.component == Component::Tikv) else {
        return Ok(());
    };
    let Identity::Known(id) = &scene.identity else {
        return Err(format!("{slot} waits until PD has made the cluster id"));
    };
    let in_status = scene.world.resource.status.cluster_id.as_deref() == Some(&*id.to_string());
    let on_volumes = usable_pd_volumes(scene).all(|v| v.marks.cluster == Some(*id));
    if in_status && on_volumes {
        return Ok(());
    }
    Err(format!("{slot} waits until cluster id {id} is in status and on every PD volume"))
}

pub(super) fn ask_pd_first(step: &Step, scene: &Scene<'_>) -> Verdict {
    let known = matches!(scene.identity, Identity::Known(_));
    match created_volume(step, scene) {
        Some(slot) if known && scene.pd().is_none() => {
            Err(format!("{slot} gets no new volume while PD does not answer"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The slot of the additional volume that a step would make.
fn created_extra(step: &Step) -> Option<Slot> {
    let Step::Create(object) = step else { return None };
    let labels = object.body.pointer("/metadata/labels")?;
    labels.get(labels::VOLUME).filter(|_| object.key.kind == Kind::PersistentVolumeClaim)?;
    let text = |label: &str| labels.get(label).and_then(Value::as_str);
    let component =
        Component::ALL.into_iter().find(|c| text(labels::COMPONENT) == Some(c.as_str()));
    Some(Slot { component: component?, ordinal: text(labels::ORDINAL)?.parse().ok()? })
}

/// The additional volumes that a member uses are lost with any one of them, and the other way round.
fn part_of_a_member(step: &Step, scene: &Scene<'_>) -> Verdict {
    if let Some(slot) = created_extra(step) {
        let lost = scene.world.lost_claim(slot);
        return match created(step).filter(|key| Some(&key.name) == lost.as_ref()) {
            Some(key) => Err(format!(
                "{} is gone, which held a part of the data of {slot}: its member is lost as a whole, \
                 and is not started with what is left",
                key.name
            )),
            None => Ok(()),
        };
    }
    let Some(slot) = created_volume(step, scene) else { return Ok(()) };
    let claims = scene.claims(slot).iter();
    let mut left = claims.filter(|(_, volume)| {
        !volume.main && (volume.marks.store.is_some() || volume.marks.member.is_some())
    });
    match left.next() {
        Some((name, _)) => Err(format!(
            "{name} holds a part of an earlier member of {slot}, whose data volume is gone; delete it \
             or move it away, and the slot is used again"
        )),
        None => Ok(()),
    }
}

pub(super) fn volume_lost(step: &Step, scene: &Scene<'_>) -> Verdict {
    part_of_a_member(step, scene)?;
    let Some(slot) = created_volume(step, scene) else {
        return Ok(());
    };
    let member = scene.member(slot);
    if let Some(store) = member.store {
        return Err(format!(
            "the volume of {slot} is gone and PD still lists its store {}: the store is replaced in \
             another slot, and this one stays empty until PD has let it go",
            store.id
        ));
    }
    if let (Some(pd), Identity::Known(_)) = (member.listed, &scene.identity) {
        return Err(format!(
            "the volume of {slot} is gone and PD still lists its member {}, which has to be removed \
             first",
            pd.id
        ));
    }
    Ok(())
}

pub(super) fn stores_vanished(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(slot) = created_volume(step, scene).filter(|s| s.component == Component::Tikv) else {
        return Ok(());
    };
    let Some(pd) = scene.pd() else { return Ok(()) };
    let missing: Vec<String> = scene
        .world
        .volumes
        .iter()
        .filter(|(_, v)| !v.marks.retired)
        .filter_map(|(name, v)| v.marks.store.map(|store| (name, store)))
        .filter(|(_, store)| !pd.stores.contains_key(store))
        .map(|(name, store)| format!("store {store} on {name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("{slot} is held: PD does not list {}", missing.join(", ")))
}

pub(super) fn pd_joins_one_at_a_time(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(slot) = created_volume(step, scene).filter(|s| s.component == Component::Pd) else {
        return Ok(());
    };
    let (Identity::Known(_), Some(pd)) = (&scene.identity, scene.pd()) else {
        return Ok(());
    };
    if let PdStart::Bootstrap(_) = scene.pd_start() {
        return Err(format!("{slot} joins when all first members have been seen healthy"));
    }
    if let Some(member) = pd.members.values().find(|m| m.name.is_empty() || !m.healthy) {
        let name = if member.name.is_empty() { "(half-joined)" } else { &member.name };
        return Err(format!("{slot} joins when PD member {name} ({}) is healthy", member.id));
    }
    // Those that are to join in the same pass have nothing yet: the lowest ordinal goes first.
    let first = scene.roster(Component::Pd).joining.first().copied();
    if let Some(first) = first.filter(|first| *first < slot) {
        return Err(format!("{slot} joins after {first} has"));
    }
    let joining = scene
        .occupied(Component::Pd)
        .iter()
        .copied()
        .filter(|other| *other != slot && !scene.is_vacated(*other))
        .find(|other| scene.member(*other).listed.is_none());
    match joining {
        Some(other) => Err(format!("{slot} joins after {other} has")),
        None => Ok(()),
    }
}
