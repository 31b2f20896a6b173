//! In which order do stores and PD stop and start?

use super::guards::created_pod;
use crate::plan::{Identity, Scene, Step};
use crate::world::{Component, Slot};

type Verdict = Result<(), String>;

fn any_store_pod(scene: &Scene<'_>) -> Option<Slot> {
    scene.world.pods.keys().copied().find(|slot| slot.component == Component::Tikv)
}

pub(super) fn stores_stop_before_pd(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::DeletePod { name, .. } = step else {
        return Ok(());
    };
    let of_pd = Slot::of_pod(scene.name(), name).is_some_and(|s| s.component == Component::Pd);
    if !of_pd || !scene.suspending(Component::Pd) {
        return Ok(());
    }
    match any_store_pod(scene) {
        Some(slot) => Err(format!("{name} stops when {slot} has stopped")),
        None => Ok(()),
    }
}

pub(super) fn pd_starts_before_stores(step: &Step, scene: &Scene<'_>) -> Verdict {
    let made = created_pod(step, scene).filter(|slot| slot.component == Component::Tikv);
    let known = matches!(scene.identity, Identity::Known(_));
    match made {
        Some(slot) if known && scene.pd().is_none() && any_store_pod(scene).is_none() => {
            Err(format!("{slot} starts when PD answers: no store runs without it"))
        }
        Some(_) | None => Ok(()),
    }
}
