//! What does the operator learn from PD?

use tikv_operator_core::world::{LeaderFacts, PdMemberId, PdView};

use super::{Operator, half};
use crate::clock;
use crate::universe::Universe;

impl Operator {
    /// Asks the PD processes one after the other until one gives a whole answer.
    /// `created`: there are PD pods, whether they resolve or not.
    pub(super) fn ask_pd(
        &mut self,
        created: bool,
        pds: &[String],
        universe: &mut Universe,
    ) -> PdView {
        let now = universe.now;
        if !created {
            self.memory.leader_changed |= self.memory.leader.take().is_some();
            return PdView::NotCreated;
        }
        let cut = self.dice.chance(self.faults.pd_silent);
        let mut asked = pds.iter().filter(|_| !cut);
        let answer = asked.find_map(|process| universe.pd_facts(process));
        if let Some((leader, mut facts)) = answer {
            self.memory.silent_since = None;
            facts.leader = self.remember_leader(leader, now);
            if self.faults.pd_half > 0 && self.dice.chance(self.faults.pd_half) {
                half::leave_out(&mut facts, &mut self.dice);
            }
            return PdView::Known(Box::new(facts));
        }
        self.memory.leader_changed |= self.memory.leader.take().is_some();
        let since = *self.memory.silent_since.get_or_insert(now);
        PdView::Unreachable {
            seen_for: clock::span(now - since),
            reason: "no member answered through a leader".to_owned(),
        }
    }

    /// PD's leadership was given on, or may have been: who leads at the next look may have lost it and
    /// won it again since the last one.
    pub(super) fn gave_leadership(&mut self) {
        self.memory.leader_changed |= self.memory.leader.take().is_some();
    }

    fn remember_leader(&mut self, leader: u64, now: u64) -> LeaderFacts {
        let since = match self.memory.leader {
            Some((known, since)) if known == leader => since,
            Some(_) => {
                self.memory.leader_changed = true;
                now
            }
            None => now,
        };
        self.memory.leader = Some((leader, since));
        LeaderFacts {
            id: PdMemberId(leader),
            seen_for: clock::span(now - since),
            changed: self.memory.leader_changed,
        }
    }
}
