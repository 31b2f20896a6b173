//! Are there more PD members than the spec asks for?
//!
//! They leave one after the other, unwell ones first: an unwell member counts in the quorum and
//! adds nothing to it.

use super::draft::Draft;
use super::{Identity, Scene, leave_pd};
use crate::world::{Component, Slot};

/// Lets the next surplus member take its next step.
pub(super) fn shrink(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if !matches!(scene.identity, Identity::Known(_)) {
        return;
    }
    leave_pd::take_back(scene, draft);
    let mut leaving: Vec<Slot> = scene.roster(Component::Pd).leaving.clone();
    leaving.sort_by_key(|slot| scene.member(*slot).listed.is_some_and(|m| m.healthy));
    for slot in leaving {
        let removed = scene.was_removed(&scene.member(slot));
        if !removed && leave_pd::go(scene, slot, leave_pd::SCALE_IN, draft) {
            return;
        }
    }
}
