//! What do the steps of a task come to, and which answers get lost?
//!
//! As the operator has it (`operator::task::act`): a Job whose creation was not answered is looked for, and
//! where that is not answered either nobody knows, so it is made again under its name; a call is made again
//! under its key. An answer that gets lost gets lost before or after what was asked for was done.

use tikv_operator_core::task::{Answer, Answered, RunKey, TaskPlan, TaskStep, TaskWorld, turn};

use super::{TaskLoop, Verdict};
use crate::dice::Dice;
use crate::kube::{Key, Kube, Verb, text};
use crate::operator::Faults;

/// Decides what a pass over a task comes to. The real one, or a broken one.
pub type Turn = fn(&Verdict, TaskWorld, &[Answered]) -> TaskPlan;
/// What a step that nobody answered is taken for.
pub type Silence = fn(&TaskStep) -> Answer;

/// The parts of the loop over tasks that a test may replace.
#[derive(Clone, Copy, Debug)]
pub struct TaskBrain {
    /// `turn`.
    pub turn: Turn,
    /// What stands for looking for what was not answered, where something does.
    pub silence: Option<Silence>,
}

impl Default for TaskBrain {
    fn default() -> Self {
        Self { turn, silence: None }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is answered.
    Answered,
    /// It does not arrive.
    Lost,
    /// It does, and the answer does not.
    Unheard,
}

/// The connections of the loop.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Of these the loop has refused and lost writes, old views and ends of its process.
    pub(super) faults: Faults,
    dice: Dice,
}

impl Default for Line {
    fn default() -> Self {
        Self { faults: Faults::default(), dice: Dice::new(0) }
    }
}

impl Line {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self { faults, dice: Dice::new(seed) }
    }

    /// Another call.
    pub(super) fn fate(&mut self) -> Fate {
        if self.dice.chance(self.faults.unavailable) {
            Fate::Lost
        } else if self.dice.chance(self.faults.lost_answer) {
            Fate::Unheard
        } else {
            Fate::Answered
        }
    }

    /// A write on a version that is not the present one.
    pub(super) fn conflicts(&mut self) -> bool {
        self.dice.chance(self.faults.conflict)
    }

    /// The watch has not told of what is new.
    pub(super) fn lags(&mut self) -> bool {
        self.dice.chance(self.faults.stale)
    }

    /// The process ends.
    pub(super) fn crashes(&mut self) -> bool {
        self.dice.chance(self.faults.crash)
    }
}

/// A run of a task that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The task.
    pub task: String,
    /// What the run is about.
    pub about: String,
    /// The run's key.
    pub key: String,
    /// By a Job that was made, or by a call that arrived.
    pub by: Verb,
}

impl TaskLoop {
    /// Does a step, as far as faults let it. `None` where nothing is known of what came of it.
    pub(super) fn act(
        &mut self,
        kube: &mut Kube,
        task: &str,
        planned: &TaskPlan,
        step: &TaskStep,
    ) -> Option<Answer> {
        let fate = self.line.fate();
        if fate != Fate::Lost {
            self.arrive(kube, task, planned, step);
        }
        if fate != Fate::Answered
            && let Some(silence) = self.brain.silence
        {
            return Some(silence(step));
        }
        let no_answer = || Answer::Again("no answer in time".to_owned());
        match step {
            // 409: it is this run's, by its name.
            TaskStep::CreateJob { .. } if fate == Fate::Answered => Some(Answer::Begun),
            TaskStep::CreateJob { job, .. } => match self.line.fate() {
                Fate::Answered => {
                    let there = kube.get("Job", text(job, "/metadata/name")).is_some();
                    Some(if there { Answer::Begun } else { no_answer() })
                }
                Fate::Lost | Fate::Unheard => None,
            },
            TaskStep::FindJob { name, .. } => {
                let gone = || Answer::Again(format!("Job {name} was deleted"));
                let there = fate != Fate::Answered || kube.get("Job", name).is_some();
                Some(if there { Answer::Begun } else { gone() })
            }
            TaskStep::DeleteJob { .. } => None,
            TaskStep::Call { .. } if fate == Fate::Answered => Some(Answer::Done("200".to_owned())),
            TaskStep::Call { .. } => Some(no_answer()),
        }
    }

    /// What was asked for is done.
    fn arrive(&mut self, kube: &mut Kube, task: &str, planned: &TaskPlan, step: &TaskStep) {
        match step {
            TaskStep::CreateJob { key, job } => {
                if kube.create(job.clone()).is_ok() {
                    self.note(task, planned, (key, Verb::Create));
                }
            }
            TaskStep::FindJob { .. } => {}
            TaskStep::DeleteJob { name, uid } => {
                let _ = kube.delete(&Key::new("Job", name), Some(&uid.0));
            }
            TaskStep::Call { key, .. } => self.note(task, planned, (key, Verb::Call)),
        }
    }

    fn note(&mut self, task: &str, planned: &TaskPlan, (key, by): (&RunKey, Verb)) {
        let run = planned.status.runs.iter().find(|run| run.key == *key);
        let about = run.map(|run| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let event = run.event.map_or("-", |event| event.as_str());
            format!("{event} {} {}>{}", text(&run.subject), text(&run.from), text(&run.to))
        });
        let about = about.unwrap_or_default();
        self.begun.push(Begun { task: task.to_owned(), about, key: key.to_string(), by });
    }
}
