//! Which calls of runs are being made, and what was answered?
//!
//! A receiver may take a minute to answer. Calls are made beside the passes, so that a task goes on
//! looking at its clusters meanwhile: what begins and ends within that minute is an event too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tikv_operator_core::task::{Answered, Task, TaskStep};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::{TaskWake, act::Worker};
use crate::controller::Key;

/// All calls of this process; clones share them.
#[derive(Clone)]
pub(super) struct Calls {
    worker: Arc<Worker>,
    wakes: mpsc::UnboundedSender<TaskWake>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Tasks and the keys of their runs.
    going: BTreeSet<(Key, String)>,
    answers: BTreeMap<Key, Vec<Answered>>,
}

impl Calls {
    pub(super) fn new(worker: Arc<Worker>, wakes: mpsc::UnboundedSender<TaskWake>) -> Self {
        Self { worker, wakes, inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is the call of this step being made?
    pub(super) fn is_going(&self, key: &Key, step: &TaskStep) -> bool {
        let run = step.run().map(|run| (key.clone(), run.to_owned()));
        run.is_some_and(|run| self.inner().going.contains(&run))
    }

    /// Makes the call, and wakes the task when it was answered.
    pub(super) fn begin(&self, key: &Key, task: &Task, step: &TaskStep) {
        let Some(run) = step.run().map(str::to_owned) else { return };
        if !self.inner().going.insert((key.clone(), run.clone())) {
            return;
        }
        let (calls, key, task, step) = (self.clone(), key.clone(), task.clone(), step.clone());
        let making = async move {
            // Also when it breaks down the call is over.
            let _over = Over { calls: calls.clone(), key: key.clone(), run: run.clone() };
            if let Some(answer) = calls.worker.act(&task, &step).await {
                tracing::info!(run, ?answer, "attempt");
                calls.inner().answers.entry(key).or_default().push(Answered { key: run, answer });
            }
        };
        tokio::spawn(making.in_current_span());
    }

    /// Was something answered that no pass has taken up?
    pub(super) fn have_answers(&self, key: &Key) -> bool {
        self.inner().answers.contains_key(key)
    }

    /// What was answered to this task's calls.
    pub(super) fn take_answers(&self, key: &Key) -> Vec<Answered> {
        self.inner().answers.remove(key).unwrap_or_default()
    }

    /// These could not be persisted: the next pass has them.
    pub(super) fn give_back(&self, key: &Key, answers: Vec<Answered>) {
        if !answers.is_empty() {
            self.inner().answers.entry(key.clone()).or_default().extend(answers);
        }
    }
}

/// Ends a call when it is dropped.
struct Over {
    calls: Calls,
    key: Key,
    run: String,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.calls.inner().going.remove(&(self.key.clone(), self.run.clone()));
        // Fails only when the controller has ended.
        let _ = self.calls.wakes.send(TaskWake::Task(self.key.clone()));
    }
}
