//! Which steps could do harm? All that take something away, and all that make something new.

use serde_json::json;
use tikv_operator_core::build::{self, EVICTING, LEAVING};
use tikv_operator_core::plan::{Identity, Scene, Step};
use tikv_operator_core::world::{
    BootstrapRecord, ClusterId, Component, Kind, Leaving, ObjectKey, PdFacts, Slot, StoreId,
    StoreState, VolumeFacts, VolumeMarks,
};

/// Every candidate, the more harmful first.
pub(super) fn candidates(scene: &Scene<'_>) -> Vec<Step> {
    let mut steps = in_pd(scene);
    steps.extend(on_volumes(scene));
    for (slot, pod) in &scene.world.pods {
        let reason = "reckless".to_owned();
        let name = slot.pod_name(scene.name());
        steps.push(Step::DeletePod { name, uid: pod.uid.clone(), reason });
    }
    steps.extend(new_members(scene));
    steps.extend(intents(scene));
    steps.push(Step::RecordClusterId(ClusterId(1)));
    let record = BootstrapRecord { token: "another".to_owned(), members: vec![0] };
    steps.push(Step::RecordBootstrap(record));
    steps
}

/// What a step does, without when.
pub(super) fn name(step: &Step) -> String {
    if let Step::MarkVolume { name, marks, .. } = step {
        let why = marks.leaving.as_ref().map(|leaving| &leaving.reason);
        return format!("MarkVolume {name} {why:?} {} {:?}", marks.retired, marks.evicting);
    }
    // There is always another free slot: all of a component count as one.
    if let Step::Create(object) = step {
        let replaces = object.body.pointer("/metadata/annotations/tikv.org~1replaces-store");
        let name = object.key.name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        return format!("Create {:?} {name} {replaces:?}", object.key.kind);
    }
    if let Step::DeletePod { name, .. } = step {
        return format!("DeletePod {name}");
    }
    format!("{step:?}")
}

fn in_pd(scene: &Scene<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let Some(pd) = scene.pd() else { return steps };
    for store in pd.stores.values() {
        let id = store.id;
        steps.push(Step::OfflineStore { store: id, address: store.address.clone() });
        // Those that change something.
        if store.state == StoreState::Offline {
            steps.push(Step::KeepStore { store: id });
        }
        steps.push(if pd.evicting.contains(&id) {
            Step::StopEvicting { store: id }
        } else {
            Step::EvictLeaders { store: id }
        });
    }
    for member in pd.members.values() {
        steps.push(Step::RemovePdMember { id: member.id, name: member.name.clone() });
        if !member.name.is_empty() {
            steps.push(Step::TransferPdLeader { to: member.name.clone() });
        }
    }
    let item = |item: &str, value| Step::SetPdConfig { item: item.to_owned(), value };
    steps.push(item("replication.max-replicas", json!(7)));
    steps.push(item("replication.location-labels", json!("rack")));
    steps
}

fn on_volumes(scene: &Scene<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, volume) in &scene.world.volumes {
        let (name, uid) = (name.clone(), volume.uid.clone());
        let size = "1Mi".to_owned();
        steps.push(Step::DeleteVolume {
            name: name.clone(),
            uid: uid.clone(),
            version: volume.version.clone(),
        });
        let retired_since = Some(scene.world.now);
        let marks = VolumeMarks { retired: true, retired_since, ..VolumeMarks::default() };
        if !volume.marks.retired {
            steps.push(Step::MarkVolume { name: name.clone(), uid: uid.clone(), marks });
        }
        steps.push(Step::ResizeVolume { name, uid, size });
    }
    steps
}

/// Marks that say what will be done, and their end.
fn intents(scene: &Scene<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, volume) in scene.world.volumes.iter().filter(|(_, volume)| volume.main) {
        let mark = |marks| Step::MarkVolume { name: name.clone(), uid: volume.uid.clone(), marks };
        if volume.marks.leaving.is_none() {
            for reason in ["scale-in", "replaced"] {
                let leaving = Leaving { since: scene.world.now, reason: reason.to_owned() };
                steps.push(mark(VolumeMarks { leaving: Some(leaving), ..VolumeMarks::default() }));
            }
        } else {
            steps.push(take_off(name, volume, LEAVING));
        }
        if volume.marks.evicting.is_some() {
            steps.push(take_off(name, volume, EVICTING));
        }
    }
    steps
}

fn take_off(name: &str, volume: &VolumeFacts, mark: &str) -> Step {
    Step::Mark {
        key: ObjectKey::new(Kind::PersistentVolumeClaim, name),
        uid: volume.uid.clone(),
        annotations: [(mark.to_owned(), None)].into(),
        labels: [].into(),
    }
}

/// Pods and volumes of all slots in use and of the next free ones; a replacement for every store.
fn new_members(scene: &Scene<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for component in Component::ALL {
        let used = scene.occupied(component);
        let free = scene.free(component, used, 2);
        let retired = scene.world.volumes.values().filter(|volume| volume.marks.retired);
        let retired = retired.map(|volume| volume.slot).filter(|slot| slot.component == component);
        for slot in used.iter().copied().chain(retired).chain(free.iter().copied()) {
            if !scene.world.pods.contains_key(&slot) {
                steps.push(Step::Create(build::pod(scene.cluster, slot)));
            }
            if !scene.world.volumes.contains_key(&slot.claim_name(scene.name())) {
                steps.extend(claim(scene, slot, None));
            }
        }
        let stores = scene.pd().filter(|_| component == Component::Tikv).into_iter();
        for store in stores.flat_map(PdFacts::live_stores) {
            steps.extend(free.last().and_then(|slot| claim(scene, *slot, Some(store.id))));
        }
    }
    steps
}

fn claim(scene: &Scene<'_>, slot: Slot, replaces: Option<StoreId>) -> Option<Step> {
    let mut marks = VolumeMarks { replaces, ..VolumeMarks::default() };
    marks.resource = Some(scene.world.resource.uid.clone());
    match &scene.identity {
        Identity::Known(id) => marks.cluster = Some(*id),
        Identity::Starting(record) if slot.component == Component::Pd => {
            marks.bootstrap = Some(record.clone());
        }
        Identity::Starting(_) | Identity::Unborn | Identity::Conflict(_) => {}
    }
    build::claims(scene.cluster, slot, &marks).into_iter().next().map(Step::Create)
}
