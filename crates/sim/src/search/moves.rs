//! What can happen next?

use std::sync::Arc;

use stateright::{Model, Property};

use super::circles::Circles;
use super::moment::Moment;
use super::situation::{Fault, Situation};
use super::taken::{CRASH, Taken};

/// One of the things that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Time passes.
    Time,
    /// Time passes, and the operator's process ends after so many of its next writes.
    Crash(u8),
    /// This fault of the situation.
    Fault(u8),
    /// The end of the one that stands.
    Undo(u8),
}

/// All that can happen in a situation.
pub(super) struct Moves {
    situation: Situation,
    first: Moment,
    circles: Arc<Circles>,
    taken: Arc<Taken>,
}

impl Moves {
    pub(super) fn new(
        situation: Situation,
        first: Moment,
        (circles, taken): (Arc<Circles>, Arc<Taken>),
    ) -> Self {
        Self { situation, first, circles, taken }
    }

    fn fault(&self, index: u8) -> Option<&Fault> {
        self.situation.faults.get(usize::from(index))
    }

    fn time(&self, from: &Moment) -> Option<Moment> {
        let next = from.after_time(self.situation.wait)?;
        if from.standing().is_none() {
            self.note(from, &next);
        }
        Some(next)
    }

    fn crash(&self, from: &Moment, write: u8) -> Option<Moment> {
        let crashed = from.after_crash(write, self.situation.wait);
        self.taken.note(CRASH, crashed.ok_or_else(|| "it never writes".to_owned()))
    }

    fn undo(&self, from: &Moment, index: u8) -> Option<Moment> {
        let line = self.fault(index)?.undo.as_deref()?;
        let next = self.taken.note(line, from.after_fault(line, from.left(), None))?;
        self.note(from, &next);
        Some(next)
    }

    /// What follows from a moment when nothing more goes wrong.
    fn note(&self, from: &Moment, next: &Moment) {
        self.circles.note(from.number(), from.way(), Some(next.number()));
        if next.is_at_rest() {
            self.circles.note(next.number(), next.way(), None);
        }
    }
}

impl Model for Moves {
    type State = Moment;
    type Action = Move;

    fn init_states(&self) -> Vec<Moment> {
        vec![self.first.clone()]
    }

    fn actions(&self, moment: &Moment, moves: &mut Vec<Move>) {
        if !moment.findings().is_empty() {
            return;
        }
        if !moment.is_at_rest() {
            moves.push(Move::Time);
        }
        moves.extend(moment.standing().map(Move::Undo));
        if moment.left() == 0 {
            return;
        }
        if !moment.is_at_rest() {
            moves.extend((1..=self.situation.crashes).map(Move::Crash));
        }
        for (index, fault) in (0..).zip(&self.situation.faults) {
            if fault.undo.is_none() || moment.standing().is_none() {
                moves.push(Move::Fault(index));
            }
        }
    }

    fn next_state(&self, from: &Moment, next: Move) -> Option<Moment> {
        match next {
            Move::Time => self.time(from),
            Move::Crash(write) => self.crash(from, write),
            Move::Fault(index) => {
                let fault = self.fault(index)?;
                let standing = fault.undo.as_ref().map(|_| index).or(from.standing());
                let next = from.after_fault(&fault.line, from.left().saturating_sub(1), standing);
                self.taken.note(&fault.line, next)
            }
            Move::Undo(index) => self.undo(from, index),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing ends badly", |_, moment: &Moment| {
            moment.findings().is_empty()
        })]
    }
}
