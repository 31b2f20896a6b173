//! What is in each slot? Pods, volumes and PD's records, joined in one go.

use std::collections::BTreeMap;

use crate::build;
use crate::cluster::Cluster;
use crate::world::{Component, PdMember, PdView, PodFacts, Slot, StoreFacts, VolumeFacts, World};

/// One slot with all that is in it: the join of pod, volume and PD's record.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The slot.
    pub slot: Slot,
    /// Its pod.
    pub pod: Option<&'a PodFacts>,
    /// Its main volume claim.
    pub volume: Option<&'a VolumeFacts>,
    /// Its store in PD, tombstones apart (TiKV slots).
    pub store: Option<&'a StoreFacts>,
    /// Its member in PD (PD slots).
    pub listed: Option<&'a PdMember>,
}

/// One slot and every claim that says that it is of it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) member: Member<'a>,
    /// The claim that bears the name of the slot's main volume, whatever it says.
    pub(super) main: Option<(&'a String, &'a VolumeFacts)>,
    pub(super) claims: Vec<(&'a String, &'a VolumeFacts)>,
}

impl Row<'_> {
    fn new(slot: Slot) -> Self {
        Self { member: Member::of(slot), main: None, claims: Vec::new() }
    }

    pub(super) fn is_occupied(&self) -> bool {
        let recorded = self.member.store.is_some() || self.member.listed.is_some();
        let usable = |volume: &VolumeFacts| volume.main && !volume.marks.retired;
        recorded
            || self.member.pod.is_some()
            || self.claims.iter().any(|(_, volume)| usable(volume))
    }
}

impl Member<'_> {
    /// A slot that holds nothing.
    pub(super) fn of(slot: Slot) -> Self {
        Self { slot, pod: None, volume: None, store: None, listed: None }
    }
}

/// Joins pods, volumes and PD's records by slot, each looked at once.
pub(super) fn rows<'a>(cluster: &'a Cluster, world: &'a World) -> BTreeMap<Slot, Row<'a>> {
    let name = cluster.name.as_str();
    let mut rows: BTreeMap<Slot, Row<'a>> = BTreeMap::new();
    for (slot, pod) in &world.pods {
        row(&mut rows, *slot).member.pod = Some(pod);
    }
    for (claim, volume) in &world.volumes {
        row(&mut rows, volume.slot).claims.push((claim, volume));
        if let Some(slot) = Slot::of_claim(name, claim) {
            let row = row(&mut rows, slot);
            (row.main, row.member.volume) = (Some((claim, volume)), Some(volume));
        }
    }
    if let PdView::Known(pd) = &world.pd {
        for member in pd.members.values() {
            let slot = Slot::of_pod(name, &member.name);
            if let Some(slot) = slot.filter(|slot| slot.component == Component::Pd) {
                row(&mut rows, slot).member.listed.get_or_insert(member);
            }
        }
        // A cluster of the same name in another namespace may share this PD: the whole address
        // counts.
        for store in pd.live_stores() {
            if let Some(slot) = build::slot_at(cluster, &store.address) {
                row(&mut rows, slot).member.store.get_or_insert(store);
            }
        }
    }
    rows
}

fn row<'r, 'a>(rows: &'r mut BTreeMap<Slot, Row<'a>>, slot: Slot) -> &'r mut Row<'a> {
    rows.entry(slot).or_insert_with(|| Row::new(slot))
}
