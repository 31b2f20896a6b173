//! What of PD's answers may be missing while the rest is there?
//!
//! The operator asks PD many questions; those that decide who exists (members, stores) are one
//! answer or none. Any other may fail by itself, and then nothing is known of it.

use tikv_operator_core::world::{Maintenance, PdFacts, Replication};

use crate::dice::Dice;

/// Leaves out some answers, each by chance.
pub(super) fn leave_out(facts: &mut PdFacts, dice: &mut Dice) {
    let mut lost = || dice.chance(40);
    if lost() {
        (facts.replication, facts.fewest_peers) = (Replication::Unknown, None);
    }
    if lost() {
        facts.critical = None;
    }
    if lost() {
        facts.config = None;
    }
    if lost() {
        (facts.max_replicas, facts.location_labels, facts.critical) = (None, Vec::new(), None);
    }
    if lost() {
        facts.unsafe_recovery = None;
    }
    if lost() {
        facts.maintenance = Maintenance::Unknown { reason: "no answer".to_owned() };
    }
    if lost() {
        facts.progress.clear();
    }
}
