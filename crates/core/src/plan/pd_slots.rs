//! Which PD member belongs to which slot, and is it still one?
//!
//! A member is known by its id. Its name is the name of its pod, and a name alone proves nothing: a
//! slot may have held another member before.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::Scene;
use super::rows::Member;
use crate::world::{
    Component, Kind, LEADER_SETTLES, ObjectKey, PdFacts, PdMember, PdMemberId, PodFacts, Slot,
    VolumeFacts,
};

impl<'a> Scene<'a> {
    /// The slot whose pod has this member's name, if it is one of ours.
    pub fn pd_slot(&self, member: &PdMember) -> Option<Slot> {
        Slot::of_pod(self.name(), &member.name).filter(|slot| slot.component == Component::Pd)
    }

    /// How many other members there are, and how many of them are healthy and have their pods: PD calls
    /// a member healthy for a moment longer than it is there.
    pub fn others(&self, pd: &PdFacts, than: &PdMember) -> (usize, usize) {
        let others = || pd.members.values().filter(|m| m.id != than.id);
        let there = |member: &&PdMember| {
            let slot = self.pd_slot(member);
            slot.is_none_or(|slot| match self.member(slot).pod {
                Some(pod) => pod.deleting_since.is_none(),
                None => self.strangers_pod(slot).is_some(),
            })
        };
        let healthy = others().filter(|m| m.healthy && !m.name.is_empty()).filter(there).count();
        (others().count(), healthy)
    }

    /// Whose the pod of this slot's name is, if it is not ours.
    pub fn strangers_pod(&self, slot: Slot) -> Option<&'a String> {
        let key = ObjectKey::new(Kind::Pod, slot.pod_name(self.name()));
        self.world.strangers.get(&key)
    }

    /// Claims of a slot, the additional ones included, that are not retired yet.
    pub fn unretired_claims(
        &self,
        slot: Slot,
    ) -> impl Iterator<Item = (&'a String, &'a VolumeFacts)> + '_ {
        self.claims(slot).iter().copied().filter(|(_, volume)| !volume.marks.retired)
    }

    /// PD slots whose main volume is not retired and that have a volume, a pod or a record.
    pub fn pd_slots(&self) -> Vec<Member<'a>> {
        let members = self.occupied(Component::Pd).iter().map(|slot| self.member(*slot));
        members.filter(|member| !member.is_retired()).collect()
    }

    /// PD has a leader, and neither the member that the slot's volume names nor one of the slot's
    /// name is in its list. `None`: PD does not answer, so nobody knows.
    pub fn is_unlisted(&self, member: &Member<'_>) -> Option<bool> {
        let pd = self.pd()?;
        let marked = member.volume.and_then(|volume| volume.marks.member);
        let by_id = marked.is_some_and(|id| pd.members.contains_key(&id));
        Some(!by_id && member.listed.is_none())
    }

    /// The slot held a member once, and PD does not have it any more: the data on its volume are
    /// useless, and a process on them hangs (the stand-in's `trap_06`). A slot that is still to join is none.
    pub fn was_removed(&self, member: &Member<'_>) -> bool {
        let marks = member.volume.map(|volume| &volume.marks);
        let was_member =
            marks.is_some_and(|marks| marks.member.is_some() || marks.leaving.is_some());
        was_member && self.is_unlisted(member) == Some(true)
    }

    /// How long PD's leader has led without a break, as far as anybody can tell: as long as it was
    /// seen to lead, and no longer than each of the healthy members has run. Where one starts or
    /// joins, the leadership may be lost and won again between two looks, and PD's leader then knows
    /// as little as a new one.
    fn leader_known_for(&self) -> SignedDuration {
        let Some(pd) = self.pd() else { return SignedDuration::ZERO };
        let slots = self.pd_slots();
        let healthy = slots.iter().filter(|m| m.listed.is_some_and(|listed| listed.healthy));
        let starts = healthy.filter_map(|member| member.pod?.started);
        let runs = starts.map(|at| self.world.now.duration_since(at)).min();
        runs.map_or(pd.leader.seen_for, |runs| runs.min(pd.leader.seen_for))
    }

    /// PD's leader has led for long enough to have heard every region: its word may end the life of
    /// a store or of a member.
    pub fn leader_is_settled(&self) -> bool {
        self.leader_known_for() >= LEADER_SETTLES
    }

    /// How many members our volumes name, those that leave apart, and how many of them PD lists: a
    /// leader that lists no majority of them may stand alone (made from one member's data by hand,
    /// or cut off), and what it does not list need not be gone. `None`: PD does not answer, or its
    /// list will do.
    pub fn lonely_leader(&self) -> Option<(usize, usize)> {
        let pd = self.pd()?;
        let slots = self.pd_slots();
        let volumes = slots.iter().filter_map(|member| member.volume);
        let stays = volumes.filter(|volume| volume.marks.leaving.is_none());
        let known: BTreeSet<PdMemberId> = stays.filter_map(|volume| volume.marks.member).collect();
        let listed = known.iter().filter(|id| pd.members.contains_key(id)).count();
        (!known.is_empty() && listed * 2 <= known.len()).then_some((listed, known.len()))
    }

    /// PD slots whose volume may be that of a member which was added and never started: no member is
    /// known to have been on it, and PD lists none of its name.
    pub fn half_joined(&self) -> Vec<Slot> {
        let may_be = |member: &Member<'_>| {
            let new = |volume: &VolumeFacts| {
                volume.marks.member.is_none() && volume.marks.leaving.is_none() && !volume.deleting
            };
            member.volume.is_some_and(new) && self.is_unlisted(member) == Some(true)
        };
        let members = self.pd_slots().into_iter();
        members.filter(may_be).map(|member| member.slot).collect()
    }

    /// PD pods whose member PD does not list and that may be about to join.
    pub fn joiners(&self) -> Vec<Slot> {
        let members = self.pd_slots().into_iter();
        let may_join = members.filter(|member| {
            let leaving = member.volume.is_some_and(|volume| volume.marks.leaving.is_some());
            let pod = member.pod.is_some_and(|pod| pod.deleting_since.is_none());
            pod && !leaving && self.is_unlisted(member) == Some(true) && !self.was_removed(member)
        });
        may_join.map(|member| member.slot).collect()
    }
}

impl Member<'_> {
    /// The slot's main volume was a member's: once PD has removed that, a process on it stays out
    /// (the stand-in's `trap_06`).
    pub fn was_listed(&self) -> bool {
        self.volume.is_some_and(|volume| volume.marks.member.is_some())
    }

    /// The slot's main volume is that of a member that was removed for good.
    pub fn is_retired(&self) -> bool {
        self.volume.is_some_and(|volume| volume.marks.retired)
    }

    /// PD reaches the member, and Kubernetes says that its server runs and that its pod stays. A
    /// container beside it that crashes makes nobody unwell.
    pub fn is_well(&self) -> bool {
        let runs = |pod: &PodFacts| pod.containers_ready || pod.started.is_some();
        self.listed.is_some_and(|member| member.healthy)
            && self.pod.is_some_and(|pod| runs(pod) && pod.deleting_since.is_none())
    }
}
