//! How do passes over many clusters get their turn?
//!
//! One loop: watches and timers wake clusters, each cluster has at most one pass at a time, and a
//! failing one waits longer and longer without holding up the others.

mod pass;
mod publish;
mod schedule;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

pub use pass::{Pass, Passed};
pub use publish::Publisher;
pub use schedule::{Backoff, Jitter, Key, Schedule};
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tracing::Instrument;

use crate::{
    metrics::{CallOutcome, Census, ClusterRow},
    observe::{Cache, Memory, Scope, Wake},
    serve::Health,
};

/// A burst of events is waited out for this long, once, before a pass.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Least time between two passes over a cluster.
const REST: Duration = Duration::from_millis(250);
/// Events do not start a pass sooner than this after one that failed, unless the user edited.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// At the end, time for the calls in hand that change something; a write takes at most 5 s, and a
/// change in PD that takes longer is left to itself.
const LAST_CALLS: Duration = Duration::from_secs(5);
/// The loop shows that it is alive this often.
const BEAT: Duration = Duration::from_secs(1);

/// What the loop needs.
pub struct Controller {
    /// What is done for one cluster.
    pub pass: Arc<Pass>,
    /// The watched clusters.
    pub cache: Cache,
    /// What the watches follow.
    pub scopes: Vec<Scope>,
    /// Most passes at the same time.
    pub concurrency: usize,
    /// Where to show that the loop turns.
    pub health: Health,
}

struct State {
    schedule: Schedule,
    backoff: Backoff,
    /// Taken out while a pass runs.
    memories: BTreeMap<Key, Memory>,
    census: Census,
    running: JoinSet<Ended>,
    /// Whose pass a task is.
    tasks: HashMap<Id, Key>,
    /// Counts the times that the lease was taken. What was observed under an earlier one is not
    /// believed any more: another replica may have acted since.
    leadership: u64,
    jitter: Jitter,
}

/// What a task gives back: whose pass it was, the cluster's memory and the leadership that it is of,
/// how it ended.
type Ended = (Key, (Memory, u64), Passed);

impl Controller {
    /// Runs until `stop` turns true. Passes start only while `leads` is true.
    pub async fn run(
        self,
        mut wakes: mpsc::UnboundedReceiver<Wake>,
        mut leads: watch::Receiver<bool>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut state = State::new();
        let mut beat = tokio::time::interval(BEAT);
        loop {
            let acting = *leads.borrow() && self.cache.is_filled(&self.scopes);
            if acting {
                self.start_due(&mut state);
            }
            let due = state.schedule.next().filter(|_| acting && self.has_room(&state));
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                _ = beat.tick() => {
                    self.health.beat();
                    self.health.set_ready(self.cache.is_filled(&self.scopes));
                }
                Some(joined) = state.running.join_next_with_id() => {
                    self.joined(&mut state, joined);
                }
                changed = leads.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.leadership_changed(&mut state, *leads.borrow_and_update());
                }
                Some(wake) = wakes.recv() => state.wake(&wake),
                () = sleep_until(due) => {}
            }
        }
        // Calls in hand that change something end, the fence refuses the next one; a pass that only
        // reads, perhaps from a PD that hangs, has nothing to end.
        let fence = self.pass.hands.kubernetes.fence();
        if tokio::time::timeout(LAST_CALLS, fence.drain()).await.is_err() {
            tracing::warn!("a change in PD was not waited for");
        }
        state.running.shutdown().await;
    }

    fn has_room(&self, state: &State) -> bool {
        state.running.len() < self.concurrency
    }

    fn start_due(&self, state: &mut State) {
        while self.has_room(state)
            && let Some(key) = state.schedule.start(Instant::now())
        {
            let mut memory = state.memories.remove(&key).unwrap_or_default();
            let pass = Arc::clone(&self.pass);
            let whose = key.clone();
            let span = tracing::info_span!("cluster", namespace = %key.namespace, name = %key.name);
            let leadership = state.leadership;
            let task = state.running.spawn(
                async move {
                    let passed = Box::pin(pass.run(&key, &mut memory)).await;
                    (key, (memory, leadership), passed)
                }
                .instrument(span),
            );
            state.tasks.insert(task.id(), whose);
        }
    }

    /// A task has ended, if need be by a panic: then its cluster must not count as running for
    /// ever, and starts with an empty memory.
    fn joined(&self, state: &mut State, joined: Result<(Id, Ended), JoinError>) {
        match joined {
            Ok((id, (key, memory, passed))) => {
                state.tasks.remove(&id);
                let memory = state.still_true(memory);
                self.finish(state, key, memory, passed);
            }
            Err(error) if error.is_cancelled() => {
                if let Some(key) = state.tasks.remove(&error.id()) {
                    state.schedule.finish(&key, Instant::now());
                }
            }
            Err(error) => {
                tracing::error!("a pass broke down: {error}");
                if let Some(key) = state.tasks.remove(&error.id()) {
                    let passed = Passed::Failed { cap: Backoff::CAP, row: None };
                    self.finish(state, key, Memory::default(), passed);
                }
            }
        }
    }

    fn finish(&self, state: &mut State, key: Key, memory: Memory, passed: Passed) {
        let now = Instant::now();
        let metrics = self.pass.metrics();
        match passed {
            Passed::Gone => {
                state.schedule.finish(&key, now);
                state.schedule.forget(&key);
                state.backoff.reset(&key);
                state.count(&key, None, metrics);
                return;
            }
            Passed::Done { wake, row } => {
                state.backoff.reset(&key);
                state.schedule.finish(&key, now + REST);
                state.schedule.wake(&key, now + wake);
                state.count(&key, Some(row), metrics);
            }
            Passed::Failed { cap, row } => {
                let jitter = state.jitter.draw();
                let delay = state.backoff.failed(&key, jitter).min(cap);
                state.schedule.finish(&key, now + delay.min(AFTER_FAILURE));
                state.schedule.wake(&key, now + delay);
                if row.is_some() {
                    state.count(&key, row, metrics);
                }
            }
        }
        state.memories.insert(key, memory);
    }

    fn leadership_changed(&self, state: &mut State, leads: bool) {
        // Also where the loss before was too short to be seen.
        state.forget();
        if leads {
            let now = Instant::now();
            let keys = self.cache.keys();
            tracing::info!(clusters = keys.len(), "this replica acts");
            for key in keys {
                state.schedule.wake(&key, now);
            }
        } else {
            tracing::info!("this replica follows");
            state.schedule.clear();
            state.census = Census::default();
            self.pass.metrics().set_census(&state.census);
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            schedule: Schedule::default(),
            backoff: Backoff::default(),
            memories: BTreeMap::new(),
            census: Census::default(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            leadership: 0,
            jitter: Jitter::default(),
        }
    }

    /// Starts a leadership with nothing but what it will see itself: passes that saw things under an
    /// earlier one end, delays are counted anew, specs are checked anew, failures are tried again.
    fn forget(&mut self) {
        self.leadership += 1;
        self.running.abort_all();
        self.memories.clear();
        self.backoff = Backoff::default();
    }

    /// What a pass remembers, if it is of the present leadership.
    fn still_true(&self, (memory, leadership): (Memory, u64)) -> Memory {
        if leadership == self.leadership { memory } else { Memory::default() }
    }

    fn wake(&mut self, wake: &Wake) {
        if wake.edited {
            self.backoff.reset(&wake.key);
            self.schedule.forget(&wake.key);
        }
        self.schedule.wake(&wake.key, Instant::now() + DEBOUNCE);
    }

    fn count(&mut self, key: &Key, row: Option<ClusterRow>, metrics: &crate::metrics::Metrics) {
        self.census.set(&key.to_string(), row);
        metrics.set_census(&self.census);
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// How the end of a pass is counted.
pub(crate) fn outcome(passed: &Passed) -> CallOutcome {
    match passed {
        Passed::Gone | Passed::Done { .. } => CallOutcome::Ok,
        Passed::Failed { .. } => CallOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pd::Depth;

    fn key() -> Key {
        Key { namespace: "ns".to_owned(), name: "c".to_owned() }
    }

    /// One that a new process does not have.
    fn memory() -> Memory {
        let mut memory = Memory::default();
        memory.planned(true);
        memory
    }

    fn remembers(memory: &Memory) -> bool {
        memory.depth() == Depth::Quiet
    }

    #[tokio::test]
    async fn nothing_of_an_earlier_leadership_is_believed_or_gone_on_with() {
        let mut state = State::new();
        assert!(remembers(&state.still_true((memory(), state.leadership))));
        let earlier = state.leadership;
        state.memories.insert(key(), memory());
        state.running.spawn(std::future::pending());
        assert!(state.backoff.failed(&key(), 0.0) < state.backoff.failed(&key(), 0.0));
        state.forget();
        assert!(state.memories.is_empty());
        let ended = state.running.join_next().await.expect("a pass");
        assert!(ended.is_err_and(|error| error.is_cancelled()), "it would act on an old look");
        // One that ended before it could be stopped.
        assert!(!remembers(&state.still_true((memory(), earlier))));
        let first = Backoff::default().failed(&key(), 0.0);
        assert_eq!(state.backoff.failed(&key(), 0.0), first);
    }
}
