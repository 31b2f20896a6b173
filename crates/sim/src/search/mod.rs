//! Does anything go wrong in a small cluster, whatever happens and whenever it happens?
//!
//! Random histories try much and prove nothing; here every order of a few faults is tried at every
//! moment in which the operator has just done something or has waited for a while, until there is no
//! moment left that is not like one that was looked at. The world is the simulator's, with the real
//! plan in it ([`crate::harness`]); stateright keeps the books, and what it keeps apart are moments
//! that are not alike (`likeness`).
//!
//! Every way to a moment is a script, so what is found can be played again.

mod circles;
mod likeness;
mod moment;
mod moves;
mod situation;
mod taken;
mod way;

use std::sync::Arc;
use std::time::Instant;

use circles::Circles;
pub use likeness::Sight;
pub(crate) use likeness::{Alike, Likeness};
use moment::Moment;
use moves::Moves;
pub use situation::{Fault, Situation};
use stateright::{Checker as _, HasDiscoveries, Model as _};
use taken::Taken;

use crate::history;
use crate::operator::Brain;

/// How a search is done.
#[derive(Clone, Copy)]
pub struct Effort {
    /// What the operator decides with.
    pub brain: Brain,
    /// Faults in one run; `None` for as many as the situation has.
    pub faults: Option<u8>,
    /// It ends without an answer after so many moments, the same one counted as often as it is met.
    pub most: usize,
    /// Processors to use. With one, two searches find the same in the same order.
    pub threads: usize,
    /// What chance falls by: how long things take.
    pub luck: u64,
    /// How well times are told apart; `None` for as well as the situation says.
    pub sight: Option<Sight>,
}

impl Default for Effort {
    fn default() -> Self {
        let brain = Brain::default();
        Self { brain, faults: None, most: 1_000_000, threads: 1, luck: 0, sight: None }
    }
}

/// What came of a search.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// Moments that are not alike.
    pub moments: usize,
    /// All that were met.
    pub met: usize,
    /// Those in which everything is at rest.
    pub rests: usize,
    /// The most moves to one of them.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// Why it does not say anything about every moment; empty where it does.
    pub left_out: Vec<String>,
    /// The first that ends badly: what was found.
    pub findings: Vec<String>,
    /// And the script that leads there; or to a moment that is like an earlier one and leads on.
    pub script: Vec<String>,
}

impl Searched {
    /// Every moment that can be reached is like one that was looked at, and none ends badly.
    pub fn is_clean(&self) -> bool {
        self.left_out.is_empty() && self.findings.is_empty() && self.rests > 0
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let Self { moments, met, rests, depth, seconds, .. } = self;
        let whole = if !self.findings.is_empty() {
            "ends badly".to_owned()
        } else if self.left_out.is_empty() {
            "complete".to_owned()
        } else {
            format!("NOT COMPLETE: {}", self.left_out.join(", "))
        };
        format!(
            "{moments} moments ({met} met, {rests} at rest), {depth} moves deep, {seconds:.1} s, {whole}"
        )
    }
}

/// Looks at every moment that a situation can come to.
pub fn search(situation: &Situation, effort: Effort) -> Searched {
    let begun = Instant::now();
    let (circles, taken) = (Arc::new(Circles::default()), Arc::new(Taken::default()));
    let first = match Moment::first(situation, effort) {
        Ok(first) => first,
        Err(words) => return Searched { left_out: vec![words], ..Searched::default() },
    };
    let faults = first.left();
    let model = Moves::new(situation.clone(), first, (Arc::clone(&circles), Arc::clone(&taken)));
    let checker = model.checker().threads(effort.threads).target_state_count(effort.most);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut searched = Searched {
        moments: checker.unique_state_count(),
        met: checker.state_count(),
        rests: circles.rests(),
        depth: checker.max_depth(),
        ..Searched::default()
    };
    let bad = checker.discoveries().into_values().next();
    if let Some(moment) = bad.map(|path| path.last_state().clone()) {
        (searched.findings, searched.script) = (moment.findings().to_vec(), moment.way().script());
    } else {
        if searched.met >= effort.most {
            searched.left_out.push(format!("ended after {} moments", effort.most));
        } else if faults > 0 {
            searched.left_out = taken.missing(situation);
        }
        judge_circles(&circles, effort.brain, &mut searched);
    }
    searched.seconds = begun.elapsed().as_secs_f64();
    searched
}

/// A run that only ever comes to moments that are like earlier ones is not at rest, and never will be
/// if the likeness is no deception: which is tried.
fn judge_circles(circles: &Circles, brain: Brain, searched: &mut Searched) {
    let mut leads_on = 0;
    for mut script in circles.closed() {
        script.push(format!("rest {}", moment::PATIENCE));
        let findings = history::replay(&script, |harness| harness.brain = brain);
        if findings.is_empty() {
            leads_on += 1;
            searched.script = script;
        } else {
            (searched.findings, searched.script) = (findings, script);
            return;
        }
    }
    if leads_on > 0 {
        searched.left_out.push(format!("{leads_on} circles that lead on all the same"));
    }
}
