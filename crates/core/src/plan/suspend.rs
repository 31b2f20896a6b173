//! Is the cluster, or a part of it, to be stopped, and does anything speak against it now?
//!
//! Stores stop before PD and start after it. Volumes, Services and everything else stay, so that
//! the same stores and members come back. A stop in the middle of an operation would leave it half
//! done for as long as the cluster is stopped: it waits until the operation has ended.

use super::draft::Draft;
use super::{Identity, Scene, Step};
use crate::rules;
use crate::world::{Component, PdFacts, Slot, StoreState};

/// Stops what is to be stopped. True while something is: then nothing is scaled, replaced,
/// restarted or configured, and no absence counts as a failure.
pub(super) fn stop(scene: &Scene<'_>, draft: &mut Draft<'_>) -> bool {
    let asked = |component: &Component| scene.common(*component).suspended;
    let mut stopped = false;
    for component in Component::ALL.into_iter().filter(asked) {
        let subject = format!("spec.{component}.suspendAction");
        let why = obstacle(scene, component);
        if why.is_some_and(|why| draft.holds(&subject, &rules::SUSPEND_WAITS, why)) {
            continue;
        }
        let detail = format!("{component} is stopped by suspendAction; its volumes stay");
        draft.wait(subject, &rules::SUSPENDED, detail);
        stopped = true;
        for slot in pods(scene, component) {
            delete(scene, slot, draft);
        }
    }
    stopped
}

impl Scene<'_> {
    /// The component is to be stopped and nothing speaks against it: its pods go and are not made
    /// again until the spec says so.
    pub fn suspending(&self, component: Component) -> bool {
        let held = || obstacle(self, component).filter(|_| self.asks(&rules::SUSPEND_WAITS));
        self.common(component).suspended && held().is_none()
    }
}

/// What must end before the component may stop. What has stopped stays so.
fn obstacle(scene: &Scene<'_>, component: Component) -> Option<String> {
    if !matches!(scene.identity, Identity::Known(_)) {
        return Some("the cluster has not been formed yet".to_owned());
    }
    if pods(scene, component).is_empty() && pods(scene, Component::Tikv).is_empty() {
        return None;
    }
    match component {
        Component::Tikv => underway(scene),
        Component::Pd if scene.common(Component::Tikv).suspended => underway(scene),
        Component::Pd => Some("stores need PD: suspend TiKV as well".to_owned()),
    }
}

/// An operation that is half done.
fn underway(scene: &Scene<'_>) -> Option<String> {
    let marked = scene.world.volumes.iter().filter(|(_, v)| v.main && !v.marks.retired).find_map(
        |(name, volume)| {
            let leaving = volume.marks.leaving.as_ref().map(|leaving| leaving.reason.as_str());
            leaving.or(volume.marks.evicting.as_deref()).map(|why| (name, why))
        },
    );
    if let Some((name, why)) = marked {
        return Some(format!("the member of {name} is in the middle of something: {why}"));
    }
    let mut stores = scene.pd().into_iter().flat_map(PdFacts::live_stores);
    if let Some(store) = stores.find(|store| store.state == StoreState::Offline) {
        return Some(format!("store {} is being removed", store.id));
    }
    if let Some(slot) = scene.roster(Component::Tikv).replaced.keys().next() {
        return Some(format!("the store of {slot} is being replaced"));
    }
    Component::ALL
        .into_iter()
        .find(|component| half_updated(scene, *component))
        .map(|component| format!("{component} pods of two revisions run: an update is half done"))
}

pub(super) fn half_updated(scene: &Scene<'_>, component: Component) -> bool {
    let mut current = scene
        .world
        .pods
        .iter()
        .filter(|(slot, _)| slot.component == component)
        .map(|(_, pod)| scene.is_current(component, pod));
    current.next().is_some_and(|first| current.any(|other| other != first))
}

fn pods(scene: &Scene<'_>, component: Component) -> Vec<Slot> {
    scene.world.pods.keys().copied().filter(|slot| slot.component == component).collect()
}

fn delete(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) {
    let Some(pod) = scene.member(slot).pod.filter(|pod| pod.deleting_since.is_none()) else {
        return;
    };
    let name = slot.pod_name(scene.name());
    let reason = "suspended".to_owned();
    draft.propose_together(name.clone(), Step::DeletePod { name, uid: pod.uid.clone(), reason });
}
