//! Who belongs to a component: who stays, who leaves, who is being replaced, who is to come?
//!
//! Derived from facts in each pass and never remembered. What must survive a crash is written on
//! volume claims before its first effect: a replacement names the store that it replaces from its
//! creation (`replaces`), a member that is being removed says so (`leaving`).

use std::collections::{BTreeMap, BTreeSet};

use super::{LEAVE, Scene, wishes};
use crate::rules::REPLACED;
use crate::world::{
    Component, NodeView, PodPhase, Slot, StoreFacts, StoreId, StoreState, VolumeFacts,
};

/// A member that is there and not well ([`Scene::health`]).
const UNWELL: u32 = 1;

/// The roster of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Slots in use that stay.
    pub staying: BTreeSet<Slot>,
    /// Slots in use whose members leave because there are too many, in the order in which they
    /// should go; before them stores that count for nobody (`Scene::is_stray`).
    pub leaving: Vec<Slot>,
    /// Stores that did not come back, each with the slot that was made in its place. They are
    /// neither staying nor leaving.
    pub replaced: BTreeMap<Slot, Slot>,
    /// Slots to be filled: the lowest ordinals that no removed member's volume occupies.
    pub joining: Vec<Slot>,
}

impl Roster {
    /// Every slot that should have a pod: all in use, and those to come. A member that leaves or is
    /// being replaced keeps its pod until PD has let it go: its data may still be needed.
    pub fn slots(&self) -> BTreeSet<Slot> {
        let leaving = self.leaving.iter().copied();
        let joining = self.joining.iter().copied();
        self.staying
            .iter()
            .copied()
            .chain(leaving)
            .chain(self.replaced.keys().copied())
            .chain(joining)
            .collect()
    }
}

impl Scene<'_> {
    /// The roster of `component`; [`Scene::roster`] keeps it.
    pub(super) fn derive_roster(&self, component: Component) -> Roster {
        let used = self.occupied(component);
        let replaced = match component {
            Component::Pd => BTreeMap::new(),
            Component::Tikv => self.replaced(used),
        };
        let strays: Vec<Slot> = used.iter().copied().filter(|slot| self.is_stray(*slot)).collect();
        let counts = |slot: &Slot| !replaced.contains_key(slot) && !strays.contains(slot);
        let active: BTreeSet<Slot> =
            used.iter().copied().filter(counts).filter(|slot| !self.is_vacated(*slot)).collect();
        let wanted = self.number(component).saturating_add(self.awaiting(&active).len());
        let surplus = self.leavers(&active, active.len().saturating_sub(wanted));
        let gone: BTreeSet<Slot> = surplus.iter().copied().collect();
        let staying = active.difference(&gone).copied().collect();
        let leaving = [strays, surplus].concat();
        let joining = self.free(component, used, wanted.saturating_sub(active.len()));
        Roster { staying, leaving, replaced, joining }
    }

    /// Wanted number of members.
    pub(super) fn number(&self, component: Component) -> usize {
        usize::try_from(self.replicas(component)).unwrap_or(usize::MAX)
    }

    /// Its removal was begun, by us or by others.
    pub(super) fn has_begun_to_leave(&self, slot: Slot) -> bool {
        let member = self.member(slot);
        let marks = self.main_volume(slot).map(|volume| &volume.marks);
        let leaving = marks.and_then(|marks| marks.leaving.as_ref());
        // A replaced store that is back before PD was told stays; its replacement is the surplus.
        leaving.is_some_and(|leaving| leaving.reason != REPLACED)
            || member.store.is_some_and(|store| store.state == StoreState::Offline)
    }

    /// The `count` lowest ordinals of `component` that hold nothing, not even a removed member's
    /// volume or a pod that never ends on a lost node.
    pub fn free(&self, component: Component, used: &BTreeSet<Slot>, count: usize) -> Vec<Slot> {
        if count == 0 {
            return Vec::new();
        }
        let volumes = self.world.volumes.values().map(|v| v.slot);
        let pods = self.world.pods.keys().copied();
        let taken: BTreeSet<Slot> = used.iter().copied().chain(volumes).chain(pods).collect();
        (0..)
            .map(|ordinal| Slot { component, ordinal })
            .filter(|slot| !taken.contains(slot))
            .take(count)
            .collect()
    }

    /// Stores in use that a replacement was made for and that did not come back meanwhile. One that
    /// PD is already removing stays replaced even if its process returns.
    fn replaced(&self, used: &BTreeSet<Slot>) -> BTreeMap<Slot, Slot> {
        let replacements: BTreeMap<StoreId, Slot> = used
            .iter()
            .filter_map(|slot| Some((self.main_volume(*slot)?.marks.replaces?, *slot)))
            .collect();
        used.iter()
            .filter(|slot| !self.is_vacated(**slot) && !self.is_stray(**slot))
            .filter_map(|slot| {
                let id = self.store_id(*slot)?;
                let by = replacements.get(&id).filter(|by| *by != slot)?;
                (!self.is_back(*slot)).then_some((*slot, *by))
            })
            .collect()
    }

    /// The store in this slot: as PD lists it, or else as its volume says.
    fn store_id(&self, slot: Slot) -> Option<StoreId> {
        let listed = self.member(slot).store.map(|store| store.id);
        listed.or_else(|| self.main_volume(slot)?.marks.store)
    }

    fn main_volume(&self, slot: Slot) -> Option<&VolumeFacts> {
        self.member(slot).volume
    }

    /// Only a pod is left in the slot, and nothing is to be made there again: its member was removed
    /// for good, or its volume is gone and the pod is on a lost node, where it may be on its way
    /// out for ever.
    pub(crate) fn is_vacated(&self, slot: Slot) -> bool {
        let member = self.member(slot);
        let known = member.listed.is_some() || member.store.is_some();
        match (member.volume, member.pod) {
            (Some(volume), _) => volume.marks.retired && !self.is_stray(slot),
            (None, Some(pod)) => {
                let node = pod.node.as_ref().and_then(|name| self.world.nodes.get(name));
                let lost = node.is_some_and(NodeView::is_lost);
                !known && pod.deleting_since.is_some() && lost
            }
            (None, None) => false,
        }
    }

    /// PD lists a store here that is not the one whose removal the retired volume is of: the last pod
    /// started once more on a disk that was empty by then. It counts for nobody, since its volume is
    /// never mounted again, and leaves before any other.
    pub(crate) fn is_stray(&self, slot: Slot) -> bool {
        let member = self.member(slot);
        let retired = member.volume.filter(|volume| volume.marks.retired);
        retired.zip(member.store).is_some_and(|(own, store)| own.marks.store != Some(store.id))
    }

    fn is_back(&self, slot: Slot) -> bool {
        let member = self.member(slot);
        member.store.is_some_and(|store| store.state == StoreState::Up)
            && member.pod.is_some_and(|pod| pod.containers_ready)
    }

    /// Which `count` of `active` leave. Those whose removal has begun go on; then those that the
    /// user named; replacements of stores that came back; members that never were; unwell ones;
    /// at last the highest ordinals.
    fn leavers(&self, active: &BTreeSet<Slot>, count: usize) -> Vec<Slot> {
        if count == 0 {
            return Vec::new();
        }
        let mut order: Vec<(u32, Slot)> =
            active.iter().map(|slot| (self.reluctance(*slot), *slot)).collect();
        order.sort_by(|(a, left), (b, right)| a.cmp(b).then(right.cmp(left)));
        let mut leaving: Vec<Slot> = order.into_iter().map(|(_, slot)| slot).take(count).collect();
        // A store that is well leaves when all is calm, and it is those others that disturb.
        leaving.sort_by_key(|slot| !self.goes_before_others(*slot));
        leaving
    }

    /// Of stores that leave: one that PD is emptying already, or one that is not well.
    fn goes_before_others(&self, slot: Slot) -> bool {
        let emptied = |store: &StoreFacts| store.state == StoreState::Offline;
        slot.component == Component::Tikv
            && (self.member(slot).store.is_some_and(emptied) || self.health(slot) == UNWELL)
    }

    fn reluctance(&self, slot: Slot) -> u32 {
        let member = self.member(slot);
        let marks = self.main_volume(slot).map(|volume| &volume.marks);
        let now = self.world.now;
        let leaves = member.pod.is_some_and(|pod| wishes::is_asked(pod, LEAVE, now));
        let goes = slot.component == Component::Tikv && wishes::is_to_be_replaced(&member, now);
        let replaces = marks.and_then(|marks| marks.replaces);
        let replacement = replaces.is_some_and(|id| self.is_listed(id));
        if self.has_begun_to_leave(slot) {
            0
        } else if leaves || goes {
            1
        } else if replacement {
            2
        } else {
            3 + self.health(slot)
        }
    }

    /// PD lists the store and has not removed it. A replacement whose store is gone is a store like
    /// every other.
    fn is_listed(&self, id: StoreId) -> bool {
        let store = self.pd().and_then(|pd| pd.stores.get(&id));
        store.is_some_and(|store| store.state != StoreState::Tombstone)
    }

    /// 0: never was a member; 1: [`UNWELL`]; 2: well.
    fn health(&self, slot: Slot) -> u32 {
        let member = self.member(slot);
        let runs = member.pod.is_some_and(|pod| pod.phase == PodPhase::Running);
        let (known, well) = match slot.component {
            Component::Pd => (member.listed.is_some(), member.listed.is_some_and(|m| m.healthy)),
            Component::Tikv => (
                self.store_id(slot).is_some(),
                member.store.is_some_and(|store| store.state == StoreState::Up),
            ),
        };
        match (known, well && runs) {
            (false, _) => 0,
            (true, false) => UNWELL,
            (true, true) => 2,
        }
    }
}
