//! How does a run read as a text that is test, documentation and support tool at once?
//!
//! A script is a list of commands, each on a line that starts with `> `, followed by what it
//! prints. Running it gives the text again; a test compares the two.

mod belonging;
mod commands;
mod crashes;
mod earlier;
mod ends;
mod hands;
mod kubectl;
mod show;

use std::collections::BTreeMap;

use crate::harness::Harness;
use crate::operator::{Brain, Faults};

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// The script with its output as it is now.
    pub printed: String,
    /// What must never happen and did.
    pub findings: Vec<String>,
    /// Writes of all operators.
    pub writes: usize,
    /// What is there in the end, by kind and name.
    pub left: Vec<String>,
    /// How often it was waited for everything to settle, and it did not.
    pub unsettled: usize,
}

/// Runs the commands of a script.
pub fn run(text: &str) -> Played {
    play(text, Play::default())
}

/// As [`run`], with other parts of the operator, and with its process ending right after one of its
/// writes. What is printed then differs; what must never happen still must not, and everything
/// settles as often as without.
pub fn run_with(text: &str, brain: Brain, crash_after: Option<usize>) -> Played {
    let mut play_with = Play { brain, crash_after, ..Play::default() };
    play_with.begin(1);
    play(text, play_with)
}

/// What the auditor finds with other parts of the operator, until it finds something with `words`.
pub fn find(text: &str, brain: Brain, words: &str) -> Vec<String> {
    let mut play = Play { brain, stops_at: Some(words.to_owned()), ..Play::default() };
    play.begin(1);
    for command in text.lines().filter_map(|line| line.strip_prefix("> ")) {
        // A command may be refused: the run is not the one that the script was written for.
        let _ = play.obey(command);
        if play.harness.is_over() {
            break;
        }
    }
    play.harness.auditor.findings.iter().map(ToString::to_string).collect()
}

fn play(text: &str, mut play: Play) -> Played {
    let mut out = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out.push_str(line);
            out.push('\n');
            match play.obey(command) {
                Ok(printed) => out.push_str(&printed),
                Err(problem) => out.push_str(&["! ", &problem, "\n"].concat()),
            }
        } else if line.starts_with('#') || line.is_empty() {
            out.push_str(line);
            out.push('\n');
        }
    }
    let findings = play.findings();
    let objects = play.harness.universe.kube.keys().map(|key| key.to_string());
    Played {
        printed: out,
        findings,
        writes: play.harness.writes.len(),
        left: objects.collect(),
        unsettled: play.unsettled,
    }
}

/// A script while it runs.
#[derive(Clone)]
pub(crate) struct Play {
    pub(crate) harness: Harness,
    /// Cluster ids by the order in which they were first shown: `id#1`.
    ids: BTreeMap<u64, usize>,
    /// What commands found that must not be.
    broken: Vec<String>,
    unsettled: usize,
    /// Writes that were shown already.
    shown: usize,
    /// What every operator decides with.
    brain: Brain,
    /// Every operator's process ends after this write.
    crash_after: Option<usize>,
    /// A run is over with a finding that has these words in it.
    stops_at: Option<String>,
    /// What objects said of whose they are before somebody took it off.
    tampered: Vec<belonging::Tampered>,
}

impl Play {
    /// How often it was waited for everything to settle, and it did not.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// A new run, in which nothing has happened yet.
    fn begin(&mut self, seed: u64) {
        self.harness = Harness::new(seed);
        self.shown = 0;
        self.harness.brain = self.brain;
        self.harness.stops_at.clone_from(&self.stops_at);
        self.harness.set_faults(Faults { crash_after: self.crash_after, ..Faults::default() });
    }
}

impl Default for Play {
    fn default() -> Self {
        Self {
            harness: Harness::new(1),
            ids: BTreeMap::new(),
            broken: Vec::new(),
            unsettled: 0,
            shown: 0,
            brain: Brain::default(),
            crash_after: None,
            stops_at: None,
            tampered: Vec::new(),
        }
    }
}
