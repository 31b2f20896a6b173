//! What of the operator's process decides what it does next?

use super::{Memory, Operator, StoreConfig};
use crate::search::{Alike, Likeness};
use crate::universe::Universe;

impl Operator {
    /// All that it remembers. What it found out about objects and specs follows from them.
    pub(crate) fn tell(&self, universe: &Universe, to: &mut Likeness) {
        let Self {
            cluster,
            brain: _,
            faults,
            clock_off,
            deaf,
            dice: _,
            cache,
            known: _,
            memory,
            checked: _,
            valid,
            written,
            seen_version: _,
            wake_at,
            busy_until,
            down_until,
        } = self;
        to.same((cluster, deaf, clock_off.as_millis()));
        let planned = faults.crash_after.and_then(|after| after.checked_sub(*written + 1));
        to.same((faults.stale, faults.conflict, faults.lost_answer, faults.unavailable));
        to.same((faults.pd_silent, faults.pd_half, faults.pace, faults.crash, planned));
        cache.tell(&universe.kube, to);
        to.same(self.is_told(universe));
        to.due(*wake_at);
        to.due(*busy_until);
        to.due(*down_until);
        to.same(valid.as_ref().map(|(_, cluster)| cluster.generation));
        memory.tell(to);
    }

    /// The changes of the API server that it has seen and does not ask for again.
    pub(crate) fn has_seen(&self) -> usize {
        self.cache.seen().min(self.seen_version)
    }

    /// The process has ended, and the next one has not begun.
    pub(crate) fn is_down(&self, now: u64) -> bool {
        self.down_until > now
    }

    /// Chance begins anew.
    pub(crate) fn throw_anew(&mut self, seed: u64) {
        self.dice = crate::dice::Dice::new(seed ^ 0x0f0f);
    }
}

impl Alike for Memory {
    fn tell(&self, to: &mut Likeness) {
        let Self {
            leader,
            leader_changed,
            silent_since,
            met,
            config_refusals,
            reported,
            growth,
            applied,
            store_configs,
            symptoms,
            trials,
            tried_for,
        } = self;
        if let Some((member, since)) = leader {
            to.id(*member);
            to.time(*since);
        }
        to.same((leader.is_some(), leader_changed));
        to.time_if(*silent_since);
        to.time_if(*reported);
        for (key, (whose, since)) in met {
            to.same(key);
            to.text(whose);
            to.time(*since);
        }
        for (item, (refusal, since)) in config_refusals {
            to.text(&format!("{item:?} {refusal:?}"));
            to.time(*since);
        }
        for (claim, (words, since)) in growth {
            to.same((claim, words));
            to.time(*since);
        }
        for (key, (hash, times, since)) in applied {
            if to.is_young(*since) {
                to.same((key, hash, times));
                to.time(*since);
            }
        }
        for (store, StoreConfig { started, read, config }) in store_configs {
            to.same((store, started.is_some()));
            to.time(*read);
            to.json(config);
        }
        for (symptom, since) in symptoms {
            // The ids of members in it are thrown by dice.
            to.text(&format!("{symptom:?}"));
            to.time(*since);
        }
        to.same(tried_for);
        for (component, (trial, since)) in trials {
            to.text(&format!("{component:?} {trial:?}"));
            to.time(*since);
        }
    }
}
