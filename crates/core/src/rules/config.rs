//! When does a rule hold a change of configuration, or a start with it?

use crate::plan::{self, Scene, Step, calm};
use crate::settings;
use crate::world::{Component, Kind, PdFacts, Slot, StoreFacts, StoreState};

type Verdict = Result<(), String>;

pub(super) fn replicas_fit_domains(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::SetPdConfig { item, value } = step else {
        return Ok(());
    };
    if !item.starts_with("replication.") {
        return Ok(());
    }
    let Some(pd) = scene.pd() else {
        return Err(format!("{item} is not changed while PD does not answer"));
    };
    let value = settings::canonical(value);
    let Some(level) = &pd.isolation_level else {
        return Err(format!("{item} is not changed: PD did not say isolation-level"));
    };
    match item.as_str() {
        "replication.max-replicas" => fit(pd, value.parse().ok(), level),
        "replication.isolation-level" => fit(pd, pd.max_replicas, &value),
        "replication.location-labels" => labelled(pd, &value),
        _ => Ok(()),
    }
}

/// Stores that can hold replicas: those that PD is not removing.
fn holding(pd: &PdFacts) -> Vec<&StoreFacts> {
    pd.live_stores().filter(|store| store.state != StoreState::Offline).collect()
}

fn fit(pd: &PdFacts, replicas: Option<u32>, level: &str) -> Verdict {
    let Some(replicas) = replicas.filter(|replicas| *replicas > 0) else {
        return Err("the number of replicas is not known, or is not a positive number".to_owned());
    };
    let stores = holding(pd);
    let room = |places: usize| u32::try_from(places).is_ok_and(|places| replicas <= places);
    if !room(stores.len()) {
        return Err(format!(
            "{replicas} replicas do not fit {} stores: raise spec.tikv.replicas first",
            stores.len()
        ));
    }
    if level.is_empty() {
        return Ok(());
    }
    let domains = pd.domains(stores, level);
    if room(domains) {
        return Ok(());
    }
    Err(format!(
        "{replicas} replicas with isolation level {level:?} do not fit {domains} failure domains"
    ))
}

fn labelled(pd: &PdFacts, labels: &str) -> Verdict {
    let bare = |label: &&str| {
        let without = |store: &&StoreFacts| store.labels.get(*label).is_none_or(String::is_empty);
        holding(pd).into_iter().find(without).map(|store| (store.id, (*label).to_owned()))
    };
    match labels.split(',').filter(|label| !label.is_empty()).find_map(|label| bare(&label)) {
        Some((store, label)) => Err(format!(
            "store {store} has no label {label:?}: name the node label in spec.tikv.storeLabels, or \
             set it in PD"
        )),
        None => Ok(()),
    }
}

pub(super) fn data_format_is_fixed(step: &Step, scene: &Scene<'_>) -> Verdict {
    if scene.world.resource.deleting_since.is_some() {
        return Ok(());
    }
    let slot = if let Step::Create(object) = step {
        Some(&object.key)
            .filter(|key| key.kind == Kind::Pod)
            .and_then(|key| Slot::of_pod(scene.name(), &key.name))
    } else if let Step::DeletePod { name, .. } = step {
        Slot::of_pod(scene.name(), name).filter(|slot| is_restart(scene, *slot))
    } else {
        None
    };
    match slot {
        Some(slot) if slot.component == Component::Tikv => plan::data_format(scene),
        Some(_) | None => Ok(()),
    }
}

/// Would this pod be made again? One that leaves, or is stopped with its component, is not.
fn is_restart(scene: &Scene<'_>, slot: Slot) -> bool {
    let member = scene.member(slot);
    let leaves = member.volume.is_none_or(|v| v.marks.retired || v.marks.leaving.is_some());
    calm::serves(scene, &member) && !leaves && !scene.suspending(slot.component)
}
