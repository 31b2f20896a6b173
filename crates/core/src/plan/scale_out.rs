//! Which new members may be made now, and on which volumes?

use std::collections::BTreeSet;

use super::Scene;
use super::draft::Draft;
use crate::rules;
use crate::world::{Component, Slot, VolumeMarks};

/// New stores that have to wait: as many register at a time as `scalePolicy.scaleOutParallelism`
/// says, except that the first stores of a cluster start together.
pub(super) fn later(
    scene: &Scene<'_>,
    component: Component,
    draft: &mut Draft<'_>,
) -> BTreeSet<Slot> {
    let born = scene.pd().is_some_and(|pd| pd.bootstrapped);
    if component == Component::Pd || !born {
        return BTreeSet::new();
    }
    let at_a_time = scene.cluster.tikv.scale.scale_out;
    let free = usize::try_from(at_a_time).unwrap_or(usize::MAX);
    let free = free.saturating_sub(scene.registering().len());
    let joining = &scene.roster(component).joining;
    let later: BTreeSet<Slot> = joining.iter().copied().skip(free).collect();
    for slot in &later {
        let name = slot.pod_name(scene.name());
        let detail = format!("{name} joins later: {at_a_time} at a time (scaleOutParallelism)");
        draft.wait(name, &rules::STORES_JOIN_IN_TURN, detail);
    }
    later
}

impl Scene<'_> {
    /// Slots of stores that were made and have not been heard by PD yet, replacements of lost
    /// stores apart.
    pub fn registering(&self) -> BTreeSet<Slot> {
        let staying = &self.roster(Component::Tikv).staying;
        staying
            .iter()
            .copied()
            .filter(|slot| {
                let member = self.member(*slot);
                let marks = member.volume.map(|volume| &volume.marks);
                let replacement = marks.is_some_and(|marks| marks.replaces.is_some());
                let left = marks.is_some_and(|m| m.store.is_some()) && member.store.is_none();
                let heard = member.store.is_some_and(|store| store.last_heartbeat.is_some());
                !replacement && !heard && !left
            })
            .collect()
    }

    /// A claim of this slot that nobody has marked and that no member in PD speaks for: not made by
    /// us, and whose data it holds is not known.
    pub fn unmarked_claim(&self, slot: Slot) -> Option<String> {
        let member = self.member(slot);
        let known = member.store.is_some() || member.listed.is_some();
        if known {
            return None;
        }
        let mut claims = self.claims(slot).iter();
        let unmarked = claims.find(|(_, volume)| volume.marks == VolumeMarks::default());
        unmarked.map(|(name, _)| (*name).clone())
    }
}
