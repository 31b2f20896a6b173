//! What do guards need to know of a step?

use crate::plan::{Scene, Step};
use crate::world::{Component, StoreFacts, StoreId, StoreState, VolumeFacts};

/// Whether a guard lets a step pass; the sentence for the user where not.
pub(super) type Verdict = Result<(), String>;

/// Main volume claims of store slots, by name.
pub(super) fn store_volumes<'a>(
    scene: &Scene<'a>,
) -> impl Iterator<Item = (&'a String, &'a VolumeFacts)> {
    let volumes = &scene.world.volumes;
    volumes.iter().filter(|(_, v)| v.main && v.slot.component == Component::Tikv)
}

/// The volume in use that carries this store.
pub(super) fn marked_store<'a>(scene: &Scene<'a>, store: StoreId) -> Option<&'a VolumeFacts> {
    let mut volumes = store_volumes(scene).map(|(_, volume)| volume);
    volumes.find(|v| !v.marks.retired && v.marks.store == Some(store))
}

/// The store that a step begins to remove, if it does: the intent as well as the call.
pub(super) fn leaving_store<'a>(step: &Step, scene: &Scene<'a>) -> Option<&'a StoreFacts> {
    let id = if let Step::OfflineStore { store, .. } = step {
        *store
    } else {
        let Step::MarkVolume { name, marks, .. } = step else { return None };
        marks.leaving.as_ref()?;
        let volume = scene.world.volumes.get(name)?;
        scene.member(volume.slot).store?.id
    };
    let pd = scene.pd()?;
    pd.stores.get(&id).filter(|store| store.state != StoreState::Tombstone)
}
