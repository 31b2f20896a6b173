//! How is a run driven: the universe, its operators and the auditor, second by second?

use serde_json::{Value, json};

use crate::auditor::{Auditor, condition};
use crate::clock::SECOND;
use crate::kube::{Key, Kube, Refusal, Verb, is_deleting, name_of, set};
use crate::operator::{Brain, Faults, MOST_LAG, Operator};
use crate::search::{Alike as _, Likeness};
use crate::tasks::{TaskBrain, Tasks};
use crate::universe::{NAMESPACE, Universe};

/// How long nothing must have been written before a run counts as settled: longer than the waits
/// of a PD leader that has just changed.
const CALM: u64 = 75 * SECOND;

/// As many changes of the API server are told before those that everybody has seen are let go.
const TOLD: usize = 150;

/// How many writes are told of a run that ended badly.
const SHOWN: usize = 4;

/// A run.
#[derive(Clone)]
pub struct Harness {
    /// Everything but the operators.
    pub universe: Universe,
    /// One per cluster that was ever created.
    pub operators: Vec<Operator>,
    /// Watches.
    pub auditor: Auditor,
    /// What every operator is made with.
    pub brain: Brain,
    /// What the loop over tasks is made with.
    pub task_brain: TaskBrain,
    /// What goes wrong for every operator.
    pub faults: Faults,
    /// The operator's loop over tasks, where it is of interest.
    pub tasks: Option<Tasks>,
    /// Every granted write of every operator, as `verb kind`.
    pub writes: Vec<(Verb, Key)>,
    /// When each of them was made.
    written_at: Vec<u64>,
    /// How often an operator has looked, and how often it took steps then.
    pub looks: (usize, usize),
    /// The run is over with the first finding that has these words in it.
    pub stops_at: Option<String>,
    /// No second is skipped, also where nothing is due in it.
    pub ticks_each_second: bool,
    /// Looks at everything after every second that was not skipped.
    pub watcher: Option<fn(&mut Universe)>,
    seed: u64,
}

impl Harness {
    /// Nothing yet.
    pub fn new(seed: u64) -> Self {
        Self {
            universe: Universe::new(seed),
            operators: Vec::new(),
            auditor: Auditor::default(),
            brain: Brain::default(),
            task_brain: TaskBrain::default(),
            faults: Faults::default(),
            tasks: None,
            writes: Vec::new(),
            written_at: Vec::new(),
            looks: (0, 0),
            stops_at: None,
            ticks_each_second: false,
            watcher: None,
            seed,
        }
    }

    /// A user creates a cluster. The spec is what follows `version`.
    pub fn create(&mut self, name: &str, spec: &Value) -> Result<(), Refusal> {
        let mut body = json!({
            "apiVersion": "tikv.org/v1alpha1",
            "kind": "TikvCluster",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"version": "v8.5.7"},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            set(&mut body, &["spec", field], value.clone());
        }
        self.universe.kube.create(body)?;
        if !self.operators.iter().any(|operator| operator.cluster == name) {
            self.start_operator(name, self.seed);
        }
        Ok(())
    }

    /// Another process looks after the same cluster, as when a lease was taken over too early.
    pub fn second_operator(&mut self, name: &str) {
        self.start_operator(name, self.seed ^ 0xabcd);
    }

    fn start_operator(&mut self, name: &str, seed: u64) {
        let mut operator = Operator::new(name, seed);
        operator.brain = self.brain;
        operator.faults = self.faults;
        self.operators.push(operator);
    }

    /// The process that came later ends.
    pub fn one_operator(&mut self, name: &str) {
        let mut seen = false;
        self.operators.retain(|operator| {
            let other = operator.cluster != name;
            other || !std::mem::replace(&mut seen, true)
        });
    }

    /// A user sets a field of the spec.
    pub fn edit(&mut self, name: &str, path: &[&str], value: Value) {
        let key = Key::new("TikvCluster", name);
        self.universe.kube.edit_spec(&key, |resource| {
            let mut whole = vec!["spec"];
            whole.extend(path);
            set(resource, &whole, value);
        });
    }

    /// A user deletes a cluster.
    pub fn delete(&mut self, name: &str) {
        let _ = self.universe.kube.delete(&Key::new("TikvCluster", name), None);
    }

    /// Sets what goes wrong for every operator, now and later.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        for operator in &mut self.operators {
            operator.faults = faults;
        }
    }

    /// What the run was for was found.
    pub fn is_over(&self) -> bool {
        let Some(words) = &self.stops_at else { return false };
        self.auditor.findings.iter().any(|found| found.invariant.contains(words))
    }

    /// Lets a second pass, and every operator that has cause look.
    pub fn tick(&mut self) {
        if self.is_over() {
            return;
        }
        self.universe.tick();
        self.auditor.after_tick(&mut self.universe);
        for operator in &mut self.operators {
            let Some(pass) = operator.tick(&mut self.universe) else { continue };
            self.auditor.after_pass(&mut self.universe, &operator.cluster, &pass);
            self.looks.0 += 1;
            self.looks.1 += usize::from(pass.crashed || !pass.outcomes.is_empty());
            if !pass.writes.is_empty() {
                self.universe.stir();
            }
            self.writes.extend(pass.writes.iter().map(|write| (write.verb, write.key.clone())));
            self.written_at.resize(self.writes.len(), self.universe.now);
        }
        self.look_after_tasks();
        if let Some(watch) = self.watcher {
            watch(&mut self.universe);
        }
    }

    /// The operator looks after tasks too.
    pub fn with_tasks(&mut self) -> &mut Tasks {
        self.tasks.get_or_insert_with(|| Tasks::with(self.task_brain))
    }

    /// Sets what goes wrong with the calls of tasks.
    pub fn set_faults_of_tasks(&mut self, faults: Faults) {
        let seed = self.seed ^ 0x7a5c;
        self.with_tasks().looping.set_faults(faults, seed);
    }

    fn look_after_tasks(&mut self) {
        let Some(tasks) = &mut self.tasks else { return };
        let version = self.universe.kube.version();
        tasks.tick(&mut self.universe.kube, self.universe.now);
        self.auditor.after_tasks(&self.universe, &tasks.looping.begun);
        if self.universe.kube.version() != version {
            self.universe.stir();
        }
    }

    /// The next moment in which an operator or its loop over tasks has cause to look.
    fn next_look(&self) -> u64 {
        let looks = self.operators.iter().map(|operator| operator.next_look(&self.universe));
        let tasks = self.tasks.iter().map(|tasks| tasks.next_look(&self.universe.kube));
        looks.chain(tasks).min().unwrap_or(u64::MAX)
    }

    /// Lets time pass.
    pub fn run(&mut self, seconds: u64) {
        let end = self.universe.now + seconds * SECOND;
        self.universe.stir();
        while self.universe.now < end && !self.is_over() {
            self.pass_until(end);
            self.trim();
        }
    }

    /// Lets go of versions of objects that everybody has seen: memory that is used again is in the
    /// processor's caches, and that of a whole run is not.
    fn trim(&mut self) {
        if self.universe.kube.told() < TOLD {
            return;
        }
        let seen = self.seen().min(self.universe.kube.version().saturating_sub(MOST_LAG));
        self.universe.kube.trim(seen);
    }

    /// The first so many changes of the API server have been seen by everybody.
    fn seen(&self) -> usize {
        let operators = self.operators.iter().map(Operator::has_seen);
        let tasks = self.tasks.iter().map(Tasks::has_seen);
        operators.chain(tasks).min().unwrap_or(usize::MAX).min(self.universe.has_seen())
    }

    /// Chance begins anew from a seed, here and for every operator.
    pub fn throw_anew(&mut self, seed: u64) {
        self.universe.throw_anew(seed);
        for operator in &mut self.operators {
            operator.throw_anew(seed);
        }
    }

    /// What decides what happens next.
    pub(crate) fn tell(&self, to: &mut Likeness) {
        self.universe.tell(to);
        to.each(&self.operators, |to, operator| operator.tell(&self.universe, to));
        to.each(self.tasks.as_slice(), |to, tasks| tasks.tell(&self.universe.kube, to));
        self.auditor.tell(&self.universe, to);
    }

    /// Lets go of what everybody has seen and of what was written: of use where many copies of a run
    /// are kept.
    pub fn forget(&mut self) {
        self.universe.kube.forget(self.seen());
        (self.writes, self.written_at) = (Vec::new(), Vec::new());
    }

    /// Lets the next second pass in which something may happen, `end` at the latest.
    pub fn pass_until(&mut self, end: u64) {
        if !self.ticks_each_second {
            let look = self.next_look().min(end);
            if look > self.universe.now + SECOND {
                let due = self.universe.next_due().min(look);
                self.universe.skip(due);
            }
        }
        self.tick();
    }

    /// Lets time pass until the clusters that exist are Ready, those deleted are gone and nothing
    /// was written for a while, or until the limit. Returns the seconds until the last write.
    pub fn settle(&mut self, limit: u64) -> Option<u64> {
        let begun = self.universe.now;
        let end = begun + limit * SECOND;
        let (mut written, mut calm_since) = (self.writes.len(), begun);
        self.universe.stir();
        while self.universe.now < end && !self.is_over() {
            let settled = calm_since + CALM;
            self.pass_until(end.min(settled.max(self.universe.now + SECOND)));
            self.trim();
            if self.writes.len() != written || !self.is_settled() {
                written = self.writes.len();
                calm_since = self.universe.now;
            } else if self.universe.now - calm_since >= CALM {
                return Some((calm_since - begun) / SECOND);
            }
        }
        None
    }

    /// The last writes of all operators up to a moment, oldest first, in words.
    pub fn last_steps(&self, until: u64) -> Vec<String> {
        let end = self.written_at.partition_point(|at| *at <= until);
        let all = self.writes.iter().zip(&self.written_at).take(end);
        let shown = all.skip(end.saturating_sub(SHOWN));
        let words =
            shown.map(|((verb, key), at)| format!("{} s: {} {key}", at / SECOND, verb.as_str()));
        words.collect()
    }

    /// Every cluster is Ready for its present generation, none is going.
    pub fn is_settled(&self) -> bool {
        self.unsettled().is_empty() && !going(&self.universe.kube)
    }

    /// The clusters that are not Ready for their present generation, or are going.
    fn unsettled(&self) -> Vec<&str> {
        let clusters = self.universe.kube.list("TikvCluster").filter(|cluster| {
            let seen = cluster.pointer("/status/observedGeneration")
                == cluster.pointer("/metadata/generation");
            is_deleting(cluster) || !seen || condition(cluster, "Ready") != Some("True")
        });
        clusters.map(name_of).collect()
    }

    /// The clusters that are not settled, where each is one that none but a person can heal
    /// ([`Auditor::is_lost_by_a_join`]); none where one is not.
    pub fn lost_by_a_join(&self) -> Vec<String> {
        let lost = self.unsettled();
        let all = lost.iter().all(|name| self.auditor.is_lost_by_a_join(&self.universe, name));
        let lost = lost.into_iter().filter(|_| all && !going(&self.universe.kube));
        lost.map(str::to_owned).collect()
    }

    /// Compares status with truth where nothing is to be done any more.
    pub fn look_at_rest(&mut self) {
        let names: Vec<String> = self.operators.iter().map(|o| o.cluster.clone()).collect();
        for name in names {
            self.auditor.at_rest(&self.universe, &name);
        }
        if self.tasks.is_some() {
            self.auditor.judge_runs_at_rest(&self.universe);
        }
    }

    /// Lets time pass in which nothing may be written, and compares status with truth.
    pub fn stay_quiet(&mut self, seconds: u64) -> Result<(), String> {
        let before = self.writes.len();
        self.run(seconds);
        self.look_at_rest();
        match self.writes.get(before..).unwrap_or_default() {
            [] => Ok(()),
            [(verb, key), ..] => Err(format!(
                "{} writes while nothing was to be done, first {} of {key}",
                self.writes.len() - before,
                verb.as_str(),
            )),
        }
    }
}

/// Some pod is on its way out.
fn going(kube: &Kube) -> bool {
    kube.list("Pod").any(is_deleting)
}
