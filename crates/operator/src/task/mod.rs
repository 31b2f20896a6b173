//! How are tasks looked after?
//!
//! As clusters are: watches and timers wake a task, it has at most one pass at a time, and a failing
//! one waits longer and longer. The loop is one of its own: a task that hangs holds up no cluster.

mod account;
mod account_client;
mod act;
mod cache;
mod calls;
mod egress;
mod http;
mod pass;
mod specs;
mod watch;

use std::{collections::HashMap, sync::Arc, time::Duration};

pub use account::Accounts;
pub use act::Worker;
pub use cache::TaskCache;
use calls::Calls;
pub use egress::{Allowed, Egress};
use kube::Client;
use pass::{Ended, TaskPass};
use specs::{Checks, Specs};
use tokio::{
    sync::{mpsc, watch as channel},
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tracing::Instrument;
use watch::TaskWatches;

use crate::{
    controller::{Backoff, Jitter, Key, Schedule},
    metrics::Metrics,
    observe::{Cache, Scope},
};

/// A burst of news is waited out for this long: an event becomes a Job within a second, and the cluster's
/// own pass and three calls to the API server come before that.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// Least time between a pass that wrote and the next one over the task.
const REST: Duration = Duration::from_millis(200);
/// The same after a pass that did not: news that was about nothing does not hold up an event. A task that
/// selects a hundred clusters takes some milliseconds, so they still do not fill a core.
const SHORT_REST: Duration = Duration::from_millis(50);
/// Most passes at the same time.
const CONCURRENCY: usize = 32;

/// Something that a task may have to be looked at for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskWake {
    /// The task itself or one of its Jobs changed.
    Task(Key),
    /// A cluster's resource changed.
    Cluster(Key),
}

/// The tasks before the loop runs: what others need of them.
pub struct Tasks {
    /// The watched tasks.
    pub cache: TaskCache,
    /// Whom to tell of changes.
    pub wakes: mpsc::UnboundedSender<TaskWake>,
    woken: mpsc::UnboundedReceiver<TaskWake>,
}

/// The watched clusters.
pub struct Clusters {
    /// Those that this operator looks after.
    pub cache: Cache,
    /// What the watches follow.
    pub scopes: Vec<Scope>,
    /// Only some are watched: one that is not in the cache may be another operator's.
    pub selected: bool,
}

/// The loop over tasks.
struct TaskController {
    pass: Arc<TaskPass>,
    cache: TaskCache,
}

impl Tasks {
    /// Starts the watches.
    pub fn start(client: &Client, scopes: &[Scope], metrics: &Metrics) -> Self {
        let (wakes, woken) = mpsc::unbounded_channel();
        let cache = TaskCache::new();
        TaskWatches {
            client: client.clone(),
            scopes: scopes.to_vec(),
            cache: cache.clone(),
            wakes: wakes.clone(),
            metrics: metrics.clone(),
        }
        .spawn();
        Self { cache, wakes, woken }
    }

    /// Looks after all tasks until `stop` turns true. Passes start only while `leads` is true.
    pub async fn run(
        self,
        worker: Worker,
        clusters: Clusters,
        leads: channel::Receiver<bool>,
        stop: channel::Receiver<bool>,
    ) {
        let worker = Arc::new(worker);
        let calls = Calls::new(Arc::clone(&worker), self.wakes);
        let pass = TaskPass {
            tasks: self.cache.clone(),
            clusters,
            worker,
            calls,
            specs: Specs::default(),
            checks: Checks::default(),
        };
        let controller = TaskController { pass: Arc::new(pass), cache: self.cache };
        controller.run(self.woken, leads, stop).await;
    }
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    backoff: Backoff,
    jitter: Jitter,
    running: JoinSet<(Key, Ended)>,
    tasks: HashMap<Id, Key>,
}

impl TaskController {
    async fn run(
        self,
        mut wakes: mpsc::UnboundedReceiver<TaskWake>,
        mut leads: channel::Receiver<bool>,
        mut stop: channel::Receiver<bool>,
    ) {
        let mut state = State::default();
        loop {
            let acting = *leads.borrow();
            if acting {
                self.start_due(&mut state);
            }
            let room = state.running.len() < CONCURRENCY;
            let due = state.schedule.next().filter(|_| acting && room);
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(joined) = state.running.join_next_with_id() => state.joined(joined),
                changed = leads.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let leads = *leads.borrow_and_update();
                    self.leadership_changed(&mut state, leads);
                }
                Some(wake) = wakes.recv() => self.wake(&mut state, wake),
                () = sleep_until(due) => {}
            }
        }
        state.running.shutdown().await;
    }

    fn start_due(&self, state: &mut State) {
        while state.running.len() < CONCURRENCY
            && let Some(key) = state.schedule.start(Instant::now())
        {
            let pass = Arc::clone(&self.pass);
            let whose = key.clone();
            let span = tracing::info_span!("task", namespace = %key.namespace, name = %key.name);
            let task = state.running.spawn(
                async move {
                    let ended = Box::pin(pass.run(&key)).await;
                    (key, ended)
                }
                .instrument(span),
            );
            state.tasks.insert(task.id(), whose);
        }
    }

    fn wake(&self, state: &mut State, wake: TaskWake) {
        let at = Instant::now() + DEBOUNCE;
        match wake {
            TaskWake::Task(key) => state.schedule.wake(&key, at),
            TaskWake::Cluster(cluster) => {
                for key in self.cache.about(&cluster) {
                    state.schedule.wake(&key, at);
                }
            }
        }
    }

    fn leadership_changed(&self, state: &mut State, leads: bool) {
        state.running.abort_all();
        self.pass.calls.forget_answers();
        state.backoff = Backoff::default();
        state.schedule.clear();
        if leads {
            let now = Instant::now();
            for key in self.cache.keys() {
                state.schedule.wake(&key, now);
            }
        }
    }
}

impl State {
    fn joined(&mut self, joined: Result<(Id, (Key, Ended)), JoinError>) {
        let now = Instant::now();
        match joined {
            Ok((id, (key, ended))) => {
                self.tasks.remove(&id);
                match ended {
                    Ended::Gone => {
                        self.schedule.finish(&key, now);
                        self.schedule.forget(&key);
                        self.backoff.reset(&key);
                    }
                    Ended::Quiet(wake) => self.rest(&key, now + SHORT_REST, now + wake),
                    Ended::Done(wake) => self.rest(&key, now + REST, now + wake),
                    Ended::Failed => self.failed(&key, now),
                }
            }
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!("a pass over a task broke down: {error}");
                }
                if let Some(key) = self.tasks.remove(&error.id()) {
                    if error.is_cancelled() {
                        self.schedule.finish(&key, now);
                    } else {
                        self.failed(&key, now);
                    }
                }
            }
        }
    }

    fn rest(&mut self, key: &Key, until: Instant, wake: Instant) {
        self.backoff.reset(key);
        self.schedule.finish(key, until);
        self.schedule.wake(key, wake);
    }

    fn failed(&mut self, key: &Key, now: Instant) {
        let delay = self.backoff.failed(key, self.jitter.draw());
        self.schedule.finish(key, now + delay);
        self.schedule.wake(key, now + delay);
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
