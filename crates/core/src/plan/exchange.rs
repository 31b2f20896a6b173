//! How does a store go that a person wants replaced ([`super::REPLACE`])?
//!
//! As a scale-out and a scale-in with one number: one store more is wanted until as many others as
//! are wanted serve, and then this one is the surplus. Nothing is remembered: from the first mark of
//! its removal it leaves like any other. Where PD could let no store go, nothing more is made: the
//! surplus could never leave.
//!
//! The wish is read on the store's pod and on its volume claim. On the pod it goes with the pod; a roll, a
//! drain or a lost machine makes that anew at any time, also while the new store is still to come. So
//! what is to last is written on the claim, which goes with the store: a task does so.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::{Scene, Severity, wishes};
use crate::rules;
use crate::world::{Component, Slot};

impl Scene<'_> {
    /// Stores of `active` that are to be replaced and stay until others serve: each is one more than
    /// are wanted. Empty when they may leave.
    pub(super) fn awaiting(&self, active: &BTreeSet<Slot>) -> BTreeSet<Slot> {
        let asked: BTreeSet<Slot> =
            active.iter().copied().filter(|slot| self.is_to_go(*slot)).collect();
        // Where PD does not say how many replicas there are, nothing begins.
        let told = self.pd().is_some_and(|pd| pd.max_replicas.is_some());
        if !told || self.lets_none_go().is_some() {
            return BTreeSet::new();
        }
        let enough = || self.serving(active, &asked) >= self.number(Component::Tikv);
        if asked.is_empty() || enough() { BTreeSet::new() } else { asked }
    }

    /// `max-replicas`, where as many stores as are wanted are fewer: PD then refuses every removal.
    fn lets_none_go(&self) -> Option<u32> {
        let most = self.pd().and_then(|pd| pd.max_replicas)?;
        (self.replicas(Component::Tikv) < most).then_some(most)
    }

    /// A person wants the store replaced, and its removal has not begun.
    fn is_to_go(&self, slot: Slot) -> bool {
        slot.component == Component::Tikv
            && wishes::is_to_be_replaced(&self.member(slot), self.world.now)
            && !self.has_begun_to_leave(slot)
    }

    /// How many of `active` serve, are not on their way out and not to be replaced.
    fn serving(&self, active: &BTreeSet<Slot>, asked: &BTreeSet<Slot>) -> usize {
        let others = active.difference(asked).filter(|slot| !self.has_begun_to_leave(**slot));
        let serves = |slot: &&Slot| {
            let member = self.member(**slot);
            let ready = member.pod.is_some_and(|pod| pod.ready && pod.deleting_since.is_none());
            ready && member.store.is_some_and(|store| store.serves(self.world.now))
        };
        others.filter(serves).count()
    }
}

/// Names each store that waits for the one that is to take its place.
pub(super) fn say(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if scene.pd().is_none() {
        return;
    }
    let staying = &scene.roster(Component::Tikv).staying;
    let wanted = scene.number(Component::Tikv);
    if let Some(most) = scene.lets_none_go() {
        for slot in staying.iter().filter(|slot| scene.is_to_go(**slot)) {
            let name = slot.pod_name(scene.name());
            let detail = format!(
                "{name} is to be replaced, and PD lets no store go: {wanted} are wanted and every \
                 region has {most} replicas (max-replicas); raise `spec.tikv.replicas` or lower it"
            );
            draft.wait_as(name, &rules::NEW_STORE_FIRST, Severity::Held, detail);
        }
        return;
    }
    let asked = scene.awaiting(staying);
    for slot in &asked {
        let name = slot.pod_name(scene.name());
        let serving = scene.serving(staying, &asked);
        let detail = format!(
            "{name} is to be replaced and leaves when {wanted} other stores are Up and ready: \
             {serving} are"
        );
        draft.wait(name, &rules::NEW_STORE_FIRST, detail);
    }
}
