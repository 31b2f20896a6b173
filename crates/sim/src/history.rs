//! What may happen to clusters in the course of time? Random, by seed, and written down as a script.
//!
//! A history is a list of commands with the pauses between them: user actions, faults of Kubernetes
//! and machines, restarts of the operator. After it faults stop, and everything must come to rest.
//! What is played is exactly what the script says, so that a run can be had again from its script
//! alone, and be made smaller.

mod events;
mod gates;
mod lasting;
mod mistakes;
mod smaller;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

pub(crate) use mistakes::{corrections, is_mistaken};
pub use smaller::smaller;

use crate::clock::SECOND;
use crate::dice::Dice;
use crate::harness::Harness;
use crate::script::Play;

/// Longest time until everything is at rest after faults have stopped, in simulated seconds: the
/// longest back-off of a container and then some.
const REST: u64 = 2400;
/// As [`REST`] where members have to be replaced: the delay before that, PD's 30 minutes and the
/// moves.
const LONG_REST: u64 = 9000;

/// Most seconds that an operator takes from one look to the next: an API server that answers each
/// call after a second or two is no rarity.
const SLOWEST: u64 = 10;

/// A version that can be had.
pub(crate) const GOOD_VERSION: &str = "v8.5.9";
/// A version that no registry has.
pub(crate) const BAD_VERSION: &str = "v8.5.99";

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What must never happen and did.
    pub findings: Vec<String>,
    /// What was done, command by command.
    pub script: Vec<String>,
    /// What the operator did last before the first finding.
    pub steps: Vec<String>,
}

/// As [`run`], until a finding and without the rest afterwards: for operators that never
/// come to rest.
pub fn run_briefly(seed: u64, prepare: impl Fn(&mut Harness)) -> Verdict {
    let mut history = History::new(seed, prepare);
    history.play.harness.stops_at.get_or_insert_default();
    history.play_events();
    history.obey("tick 300".to_owned());
    history.verdict().0
}

/// Runs the history of a seed. `prepare` may replace parts of the operator.
pub fn run(seed: u64, prepare: impl Fn(&mut Harness)) -> Verdict {
    run_whole(seed, prepare).0
}

/// As [`run`], with everything as it is in the end.
pub fn run_whole(seed: u64, prepare: impl Fn(&mut Harness)) -> (Verdict, Harness) {
    let mut history = History::new(seed, prepare);
    history.play_events();
    history.obey("make-good".to_owned());
    let rest = if history.lost_for_ever { LONG_REST } else { REST };
    history.obey(format!("rest {rest}"));
    history.verdict()
}

/// A number for the history of a seed, made of everything that can be told apart in its end.
pub fn digest(seed: u64) -> u64 {
    let (verdict, harness) = run_whole(seed, |_| {});
    let mut hasher = DefaultHasher::new();
    (verdict.script, verdict.findings).hash(&mut hasher);
    for (verb, key) in &harness.writes {
        (verb.as_str(), key).hash(&mut hasher);
    }
    let universe = &harness.universe;
    let parts = (&universe.dice, &universe.kube, &universe.nodes, &universe.pd, &universe.tikv);
    format!("{} {parts:?}", universe.now).hash(&mut hasher);
    hasher.finish()
}

/// Plays a script again and returns what was found.
pub fn replay(script: &[String], prepare: impl Fn(&mut Harness)) -> Vec<String> {
    played(script, prepare).findings()
}

/// As [`replay`], with what the operator did.
pub fn replay_verdict(script: &[String], prepare: impl Fn(&mut Harness)) -> Verdict {
    verdict(&played(script, prepare), script.to_vec())
}

fn verdict(play: &Play, script: Vec<String>) -> Verdict {
    let first = play.harness.auditor.findings.first().map_or(u64::MAX, |finding| finding.at);
    let findings = play.findings();
    let found = !findings.is_empty();
    let steps = if found { play.harness.last_steps(first) } else { Vec::new() };
    Verdict { findings, script, steps }
}

/// As [`replay`], with everything as it is in the end.
pub fn replay_whole(script: &[String], prepare: impl Fn(&mut Harness)) -> Harness {
    played(script, prepare).harness
}

fn played(script: &[String], prepare: impl Fn(&mut Harness)) -> Play {
    let mut play = Play::default();
    for command in script {
        // A command may be refused: what it is about need not be there in a smaller script.
        let _ = play.obey(command);
        if command.starts_with("seed ") {
            prepare(&mut play.harness);
        }
    }
    play
}

struct History {
    play: Play,
    dice: Dice,
    /// For what tasks do.
    task_dice: Dice,
    /// For the calls of tasks.
    call_dice: Dice,
    has_tasks: bool,
    /// For mistakes in specs.
    mistake_dice: Dice,
    has_mistakes: bool,
    script: Vec<String>,
    /// The clusters that were created.
    clusters: Vec<String>,
    /// A machine is gone with its disks.
    lost_for_ever: bool,
    /// What is still to be undone, and when.
    open: Vec<(u64, String)>,
}

impl History {
    fn new(seed: u64, prepare: impl Fn(&mut Harness)) -> Self {
        let mut history = Self {
            play: Play::default(),
            dice: Dice::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d)),
            task_dice: Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)),
            call_dice: Dice::new(seed.wrapping_mul(0xd6e8_feb8_6659_fd93)),
            has_tasks: false,
            mistake_dice: Dice::new(seed.wrapping_mul(0x9fb2_1c65_1e98_df25)),
            has_mistakes: false,
            script: Vec::new(),
            clusters: Vec::new(),
            lost_for_ever: false,
            open: Vec::new(),
        };
        history.obey(format!("seed {seed}"));
        prepare(&mut history.play.harness);
        history
    }

    /// Does what the next line of the script says. What is refused is part of history.
    fn obey(&mut self, command: String) {
        let _ = self.play.obey(&command);
        self.script.push(command);
    }

    fn play_events(&mut self) {
        let faults = self.faults();
        self.obey(faults);
        self.create("c");
        self.begin_with_tasks();
        self.may_be_mistaken();
        for _ in 0..self.dice.between(2, 9) {
            let pause = self.dice.between(1, 90);
            self.pause(pause);
            self.event();
            self.gate_event();
            self.mistake();
        }
        while let Some(due) = self.open.iter().map(|(due, _)| *due).max() {
            self.pause(due.saturating_sub(self.play.harness.universe.now) / SECOND);
        }
    }

    /// What a fault began is undone after so many seconds, whatever happens meanwhile.
    fn later(&mut self, seconds: u64, command: String) {
        self.open.push((self.play.harness.universe.now + seconds * SECOND, command));
    }

    /// Lets time pass, and undoes what is due in it.
    fn pause(&mut self, seconds: u64) {
        let end = self.play.harness.universe.now + seconds * SECOND;
        self.open.sort_by_key(|(due, _)| *due);
        while self.open.first().is_some_and(|(due, _)| *due <= end) {
            let (due, command) = self.open.remove(0);
            self.tick_until(due);
            self.obey(command);
        }
        self.tick_until(end);
    }

    fn tick_until(&mut self, end: u64) {
        let seconds = end.saturating_sub(self.play.harness.universe.now) / SECOND;
        if seconds > 0 {
            self.obey(format!("tick {seconds}"));
        }
    }

    fn verdict(self) -> (Verdict, Harness) {
        (verdict(&self.play, self.script), self.play.harness)
    }

    fn faults(&mut self) -> String {
        let dice = &mut self.dice;
        let mut sometimes = |most: u64| if dice.chance(50) { dice.below(most) } else { 0 };
        let chances = [
            ("stale", sometimes(60)),
            ("conflict", sometimes(30)),
            ("lost-answer", sometimes(30)),
            ("unavailable", sometimes(30)),
            ("pd-silent", sometimes(30)),
            ("crash", sometimes(10)),
            ("pd-half", sometimes(60)),
            ("pace", dice.between(1, SLOWEST)),
        ];
        let fields = chances.iter().filter(|(_, percent)| *percent > 0);
        let fields: Vec<String> = fields.map(|(name, p)| format!(" {name}={p}")).collect();
        format!("faults{}", fields.concat())
    }
}
