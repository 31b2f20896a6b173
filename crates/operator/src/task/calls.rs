//! Which calls of runs are being made, and what was answered?
//!
//! A receiver may take a minute to answer, and an API server that is asked for a hundred Jobs at once a
//! second. Calls are made beside the passes, so that a task goes on looking at its clusters meanwhile:
//! what begins and ends within that time is an event too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tikv_operator_core::task::{Answer, Answered, Task, TaskStep};
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument;

use super::{TaskWake, act::Worker};
use crate::controller::Key;

/// Calls to the API server at the same time: what a hundred Jobs of one moment take of it leaves it time
/// for others. Receivers are not bounded by it, since they may hang.
const AT_ONCE: usize = 16;

/// All calls of this process; clones share them.
#[derive(Clone)]
pub(super) struct Calls {
    worker: Arc<Worker>,
    wakes: mpsc::UnboundedSender<TaskWake>,
    at_once: Arc<Semaphore>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Tasks and what each of their calls is about ([`TaskStep::about`]).
    going: BTreeSet<(Key, String)>,
    answers: BTreeMap<Key, Vec<Answered>>,
    /// How often this replica began or ceased to lead. An answer is to an attempt of its term: meanwhile
    /// another replica may have made further ones under the same key.
    term: u64,
}

impl Inner {
    fn keep(&mut self, term: u64, key: &Key, answers: impl IntoIterator<Item = Answered>) {
        if term == self.term {
            self.answers.entry(key.clone()).or_default().extend(answers);
        }
    }
}

impl Calls {
    pub(super) fn new(worker: Arc<Worker>, wakes: mpsc::UnboundedSender<TaskWake>) -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self { worker, wakes, at_once, inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the call, and wakes the task when it was answered. Without a valid task only what needs none
    /// is done: a Job is deleted.
    pub(super) fn begin(&self, key: &Key, task: Option<&Arc<Task>>, step: TaskStep) {
        let about = step.about().to_owned();
        let term = {
            let mut inner = self.inner();
            if !inner.going.insert((key.clone(), about.clone())) {
                return;
            }
            inner.term
        };
        let (calls, key, task) = (self.clone(), key.clone(), task.cloned());
        let making = async move {
            // Also when it breaks down the call is over.
            let _over = Over { calls: calls.clone(), key: key.clone(), about };
            let answer = calls.make(&key, task.as_deref(), &step).await;
            if let Some((answer, run)) = answer.zip(step.run()) {
                tracing::info!(%run, ?answer, "attempt");
                let answered = Answered { key: run.clone(), answer };
                calls.inner().keep(term, &key, [answered]);
            }
        };
        tokio::spawn(making.in_current_span());
    }

    async fn make(&self, key: &Key, task: Option<&Task>, step: &TaskStep) -> Option<Answer> {
        let _turn = match step {
            TaskStep::Call { .. } => None,
            TaskStep::CreateJob { .. } | TaskStep::FindJob { .. } | TaskStep::DeleteJob { .. } => {
                self.at_once.acquire().await.ok()
            }
        };
        if let TaskStep::DeleteJob { name, uid } = step {
            self.worker.delete(&key.namespace, name, uid).await;
            return None;
        }
        self.worker.act(task?, step).await
    }

    /// What was answered to this task's calls and no pass has persisted, and which calls go on.
    pub(super) fn take(&self, key: &Key) -> Heard<'_> {
        // In one step: a call whose answer comes a moment later still counts as going on, so that it is not
        // made again.
        let mut inner = self.inner();
        let going = inner.going.iter().filter(|(of, _)| of == key);
        let going = going.map(|(_, about)| about.clone()).collect();
        let answers = inner.answers.remove(key).unwrap_or_default();
        Heard { calls: self, key: key.clone(), term: inner.term, answers, going }
    }

    /// Another replica led or will lead: what was answered and not persisted is forgotten, as when the
    /// process ends, and so is what will be answered to calls that go on.
    pub(super) fn forget_answers(&self) {
        let mut inner = self.inner();
        inner.term += 1;
        inner.answers.clear();
    }

    /// There is no such task any more.
    pub(super) fn forget(&self, key: &Key) {
        self.inner().answers.remove(key);
    }
}

/// What one pass hears. However the pass ends, an answer that it did not persist is heard by the next one.
pub(super) struct Heard<'a> {
    calls: &'a Calls,
    key: Key,
    term: u64,
    answers: Vec<Answered>,
    going: BTreeSet<String>,
}

impl Heard<'_> {
    /// What was answered.
    pub(super) fn answers(&self) -> &[Answered] {
        &self.answers
    }

    /// Is the call of this step being made?
    pub(super) fn is_going(&self, step: &TaskStep) -> bool {
        self.going.contains(step.about())
    }

    /// The task's status holds what was answered.
    pub(super) fn are_persisted(mut self) {
        self.answers.clear();
    }
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        if !self.answers.is_empty() {
            let answers = std::mem::take(&mut self.answers);
            self.calls.inner().keep(self.term, &self.key, answers);
        }
    }
}

/// Ends a call when it is dropped.
struct Over {
    calls: Calls,
    key: Key,
    about: String,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.calls.inner().going.remove(&(self.key.clone(), self.about.clone()));
        // Fails only when the controller has ended.
        let _ = self.calls.wakes.send(TaskWake::Task(self.key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Duration};

    use serde_json::json;
    use tikv_operator_core::task::{RunKey, check_task};

    use super::*;
    use crate::{
        fake::Fake,
        kubernetes::Kubernetes,
        lease::Fence,
        metrics::Metrics,
        task::{Accounts, Egress},
    };

    fn key() -> Key {
        Key { namespace: "ns".into(), name: "t".into() }
    }

    fn task() -> Arc<Task> {
        let mut body = json!({
            "metadata": {"name": "t", "namespace": "ns", "uid": "u", "generation": 1},
            "spec": tikv_operator_api::cases::task_spec(),
        });
        body["spec"]["cluster"] = json!("c");
        Arc::new(check_task(&body, jiff::Timestamp::UNIX_EPOCH).unwrap())
    }

    fn create(run: usize) -> TaskStep {
        let metadata = json!({"name": format!("t-{run}"), "namespace": "ns"});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata});
        TaskStep::CreateJob { key: RunKey(run.to_string()), job }
    }

    fn calls(api: &Fake) -> (Calls, mpsc::UnboundedReceiver<TaskWake>) {
        let config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let fence = Fence::new();
        fence.open(tokio::time::Instant::now() + Duration::from_mins(1));
        let kubernetes = Kubernetes::new(client, fence, Metrics::new());
        let accounts = Accounts::new(kubernetes.clone(), None);
        let worker = Worker { kubernetes, accounts, egress: Egress::default() };
        let (wakes, woken) = mpsc::unbounded_channel();
        (Calls::new(Arc::new(worker), wakes), woken)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 40)]
    async fn jobs_of_one_moment_are_made_beside_each_other_and_not_all_at_once() {
        use std::sync::atomic::Ordering::SeqCst;
        const JOBS: usize = 2 * AT_ONCE;
        let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let (seen, begin) = (Arc::clone(&most), std::time::Instant::now());
        let api = Fake::run(move |asked| {
            seen.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            // In place: what the runtime has queued behind this thread goes on elsewhere.
            tokio::task::block_in_place(|| {
                // Those that may come together are waited for, and then for a moment one more.
                while seen.load(SeqCst) < AT_ONCE && begin.elapsed() < Duration::from_secs(4) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                std::thread::sleep(Duration::from_millis(200));
            });
            now.fetch_sub(1, SeqCst);
            Some((201, asked.body.clone()))
        })
        .await;
        let (calls, mut woken) = calls(&api);
        for run in 0..JOBS {
            calls.begin(&key(), Some(&task()), create(run));
        }
        for _ in 0..JOBS {
            woken.recv().await.unwrap();
        }
        assert_eq!(calls.take(&key()).answers().len(), JOBS);
        assert_eq!(most.load(SeqCst), AT_ONCE);
    }

    /// The answer to a call that ends while a pass plans is the next pass's, and the call is not made again.
    #[tokio::test]
    async fn a_call_that_ends_during_a_pass_still_counts_as_going_on_in_it() {
        let api = Fake::run(|asked| Some((201, asked.body.clone()))).await;
        let (calls, mut woken) = calls(&api);
        calls.begin(&key(), Some(&task()), create(1));
        let heard = calls.take(&key());
        woken.recv().await.unwrap();
        assert!(heard.is_going(&create(1)) && heard.answers().is_empty());
        drop(heard);
        let next = calls.take(&key());
        assert!(!next.is_going(&create(1)) && next.answers().len() == 1);
        drop(next);
        assert_eq!(
            calls.take(&key()).answers().len(),
            1,
            "a pass that persists nothing drops nothing"
        );
        calls.take(&key()).are_persisted();
        assert!(calls.take(&key()).answers().is_empty());
    }

    /// Another replica made more attempts meanwhile, and an answer does not say to which it is.
    #[tokio::test]
    async fn answers_do_not_outlive_the_leadership_in_which_they_were_asked_for() {
        let api = Fake::run(|asked| Some((201, asked.body.clone()))).await;
        let (calls, mut woken) = calls(&api);
        calls.begin(&key(), Some(&task()), create(1));
        woken.recv().await.unwrap();
        calls.forget_answers();
        assert_eq!(calls.take(&key()).answers(), [], "heard by no pass before");
        calls.begin(&key(), Some(&task()), create(2));
        calls.forget_answers();
        woken.recv().await.unwrap();
        assert_eq!(calls.take(&key()).answers(), [], "the call went on");
        calls.begin(&key(), Some(&task()), create(3));
        woken.recv().await.unwrap();
        let of_a_pass = calls.take(&key());
        calls.forget_answers();
        drop(of_a_pass);
        assert_eq!(calls.take(&key()).answers(), [], "a pass had it, and was stopped");
        calls.begin(&key(), Some(&task()), create(4));
        woken.recv().await.unwrap();
        assert_eq!(calls.take(&key()).answers().len(), 1);
    }
}
