//! What is there at a moment, and how does it go on from there?

use std::fmt;
use std::hash::{Hash, Hasher};

use super::situation::Situation;
use super::way::Way;
use super::{Effort, Likeness, Sight};
use crate::clock::SECOND;
use crate::harness::Harness;
use crate::script::Play;

/// Longest time in which nothing new may happen before everything is at rest, in seconds: what a
/// random history is given where members have to be replaced.
pub(super) const PATIENCE: u64 = 9000;
/// How long everything must have been well.
const CALM: u64 = 75 * SECOND;
/// How many minutes nothing may be written then.
const QUIET: &str = "quiet 3";
/// What is wrong with a command after which everything is as before.
const NOTHING: &str = "changes nothing";
/// At rest the operator looks at least this often.
const QUIET_LOOKS: u64 = 120 * SECOND;

/// Everything at one moment of a run.
#[derive(Clone)]
pub(super) struct Moment {
    play: Play,
    way: Way,
    /// Faults that may still happen.
    left: u8,
    /// The fault that is to be undone.
    standing: Option<u8>,
    at_rest: bool,
    findings: Vec<String>,
    number: u64,
    /// What chance falls by.
    luck: u64,
    sight: Sight,
}

impl Moment {
    /// The first one of a situation. Fails with the words of the command that does not lead into it.
    pub(super) fn first(situation: &Situation, effort: Effort) -> Result<Self, String> {
        let mut play = Play::default();
        let begin = "seed 1";
        play.obey(begin)?;
        play.harness.brain = effort.brain;
        play.harness.stops_at = Some(String::new());
        let mut first = Self {
            play,
            way: Way::begin(begin),
            left: effort.faults.unwrap_or(situation.most),
            standing: None,
            at_rest: false,
            findings: Vec::new(),
            number: 0,
            luck: effort.luck,
            sight: effort.sight.unwrap_or(situation.sight),
        };
        for line in &situation.begin {
            let failed = |problem: String| format!("its opening fails: {line}: {problem}");
            first.open(line).map_err(failed)?;
            // What a broken operator does already here is a finding.
            if first.harness().is_over() {
                break;
            }
        }
        first.end_move();
        Ok(first)
    }

    /// A command that leads into the situation. One that changes nothing does not.
    fn open(&mut self, line: &str) -> Result<(), String> {
        let (before, unsettled) = (self.measure(self.harness()), self.play.unsettled());
        self.obey(line)?;
        if self.harness().is_over() {
            return Ok(());
        }
        if self.play.unsettled() > unsettled {
            return Err("not settled".to_owned());
        }
        if self.measure(self.harness()) == before {
            return Err(NOTHING.to_owned());
        }
        Ok(())
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.at_rest
    }

    pub(super) fn left(&self) -> u8 {
        self.left
    }

    pub(super) fn standing(&self) -> Option<u8> {
        self.standing
    }

    pub(super) fn findings(&self) -> &[String] {
        &self.findings
    }

    /// The commands that led here.
    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    fn obey(&mut self, line: &str) -> Result<(), String> {
        self.way = self.way.then(line);
        self.play.obey(line).map(drop)
    }

    fn harness(&self) -> &Harness {
        &self.play.harness
    }

    fn now(&self) -> u64 {
        self.harness().universe.now
    }

    /// What happens next depends on what there is and on luck, and not on how it came about.
    fn throw(&mut self) {
        let _ = self.obey(&format!("chance {}", self.number ^ self.luck));
    }

    /// A fault, or its end. Fails where it cannot be obeyed or changes nothing.
    pub(super) fn after_fault(
        &self,
        line: &str,
        left: u8,
        standing: Option<u8>,
    ) -> Result<Self, String> {
        let mut next = self.clone();
        next.obey(line)?;
        (next.left, next.standing, next.at_rest) = (left, standing, false);
        next.end_move();
        if next.number == next.measure(self.harness()) {
            return Err(NOTHING.to_owned());
        }
        Ok(next)
    }

    /// The number of what there is, with what may still be done.
    fn measure(&self, harness: &Harness) -> u64 {
        let mut likeness = Likeness::new(harness.universe.now, self.sight);
        likeness.same((self.left, self.standing, self.at_rest));
        harness.tell(&mut likeness);
        likeness.number()
    }

    /// Time passes until the operator has done something, or has done nothing for so many seconds
    /// and something is not as it was. `None` where nothing more happens until a fault is undone.
    pub(super) fn after_time(&self, seconds: u64) -> Option<Self> {
        let mut next = self.clone();
        next.throw();
        next.note_time(|next| next.pass(seconds * SECOND));
        if next.at_rest {
            let _ = next.obey(QUIET);
            next.note_time(Self::wait_for_a_look);
        } else if next.now() - self.now() >= PATIENCE * SECOND {
            if self.standing.is_some() {
                return None;
            }
            let _ = next.obey(&format!("rest {PATIENCE}"));
        }
        next.end_move();
        Some(next)
    }

    /// As [`Moment::after_time`], and the operator's process ends after so many of its writes. `None`
    /// where it does not make so many.
    pub(super) fn after_crash(&self, write: u8, seconds: u64) -> Option<Self> {
        let mut next = self.clone();
        next.throw();
        let _ = next.obey(&format!("crash-after {write}"));
        next.note_time(|next| next.pass(seconds * SECOND));
        let now = next.now();
        let crashed = next.harness().operators.iter().any(|operator| operator.is_down(now));
        (next.left, next.at_rest) = (self.left.saturating_sub(1), false);
        next.end_move();
        (crashed || !next.findings.is_empty()).then_some(next)
    }

    /// Lets time pass, and writes down how much.
    fn note_time(&mut self, pass: impl FnOnce(&mut Self)) {
        let begun = self.now();
        self.play.harness.universe.stir();
        pass(self);
        let passed = self.now() - begun;
        if passed > 0 {
            self.way = self.way.then(&format!("tick {}", passed / SECOND));
        }
    }

    fn pass(&mut self, span: u64) {
        let (mut due, limit) = (self.now() + span, self.now() + PATIENCE * SECOND);
        let (mut looks, mut steps) = self.harness().looks;
        let (mut calm_since, mut written) = (None, 0);
        while self.now() < limit && !self.harness().is_over() {
            let stop = calm_since.map_or(due, |since| since + CALM);
            self.play.harness.pass_until(if stop > self.now() { stop } else { limit });
            // A step that has changed nothing is tried again.
            if std::mem::replace(&mut steps, self.harness().looks.1) != steps && self.has_moved() {
                return;
            }
            if std::mem::replace(&mut written, self.harness().writes.len()) != written {
                calm_since = None;
            }
            if self.standing.is_none() && self.harness().is_settled() {
                let since = *calm_since.get_or_insert(self.now());
                if self.now() >= since + CALM {
                    self.at_rest = true;
                    return;
                }
                continue;
            }
            calm_since = None;
            // Right after a look: when the next one is due need not be told apart.
            let looked = std::mem::replace(&mut looks, self.harness().looks.0) != looks;
            if looked && self.now() >= due {
                if self.has_moved() {
                    return;
                }
                due = self.now() + span;
            }
        }
    }

    /// Something is not as it was when the move began.
    fn has_moved(&self) -> bool {
        self.measure(self.harness()) != self.number
    }

    /// Whatever the operator looks at now and then, it has just looked at.
    fn wait_for_a_look(&mut self) {
        let (looks, limit) = (self.harness().looks.0, self.now() + QUIET_LOOKS);
        while self.harness().looks.0 == looks && self.now() < limit {
            self.play.harness.pass_until(limit);
        }
    }

    fn end_move(&mut self) {
        if self.findings.is_empty() {
            self.findings = self.play.findings();
        }
        self.number = self.measure(self.harness());
        self.play.harness.forget();
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Hash for Moment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.way.script().join("\n"))
    }
}
