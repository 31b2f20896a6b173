//! What is said about a task?

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tikv_operator_api::v1alpha1::{RunKey, RunOutcome, RunStatus, TikvTaskStatus};

use super::admit::end;
use super::advance::{UNREAD_JOBS, hear_job, pause};
use super::ends::{self, Verdict};
use super::history;
use super::plan::{CLUSTERS_MAX, TaskPlan, settle_gates};
use super::spec::{Task, TaskTarget, Trigger};
use super::world::TaskWorld;
use crate::check::Rejection;

/// Condition type.
pub(super) const READY: &str = "Ready";
/// The conditions of a task.
pub(super) const CONDITIONS: [&str; 2] = [READY, ends::FAILED];
/// Why a task is not ready that selects too many; a gate says so of the clusters that are left out.
pub(crate) const TOO_MANY_CLUSTERS: &str = "TooManyClusters";
/// So many clusters that are left out are named: the condition is read by people.
const LEFT_OUT_NAMED: usize = 10;
/// Time for the operator to read everything when it starts.
const START: SignedDuration = SignedDuration::from_mins(1);
/// Time for the watch to tell of a Job that was just made, or is there after all.
const TOLD: SignedDuration = SignedDuration::from_secs(10);
/// Longest message that is kept.
const MESSAGE_MAX: usize = 1_024;

/// What came of a step that is an attempt of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The run.
    pub key: RunKey,
    /// The answer.
    pub answer: Answer,
}

/// The answer to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The Job exists now; its end is waited for.
    Begun,
    /// It is done.
    Done(String),
    /// It failed, and may succeed another time.
    Again(String),
    /// It failed, and would again.
    Refused(String),
}

/// The planned status with what is to be said of it. Nothing in it follows from the steps, so it is in
/// place before they are done.
pub(super) fn report(task: &Task, world: &TaskWorld, plan: &TaskPlan) -> TikvTaskStatus {
    let mut status = plan.status.clone();
    settle_gates(&mut status);
    if !world.task.deleting {
        history::prune(task, world, &mut status);
    }
    let ready = ready(task, world, &status);
    conditions(world, ready, &mut status);
    status.active = count(&status, |run| !run.outcome.is_final());
    status.summary = Some(summary(task, world, &status));
    status
}

/// The status with what was answered to the calls of runs. `attempts_more` are the task's attempts after
/// the first one: unknown where its spec is not valid, and then none is made until it is.
pub(super) fn heard(
    attempts_more: Option<i32>,
    world: &TaskWorld,
    answers: &[Answered],
) -> TikvTaskStatus {
    let mut status = world.task.status.clone();
    for Answered { key, answer } in answers {
        // A Job that is there was made, whatever was answered: its end is the run's, and a run that
        // failed here would take it along.
        let there = world.jobs.as_ref().is_some_and(|jobs| jobs.contains_key(key));
        if there && matches!(answer, Answer::Again(_)) {
            continue;
        }
        let mut runs = status.runs.iter_mut();
        // One that ended meanwhile, by its time or by another run in its place, stays as it ended.
        if let Some(run) = runs.find(|r| r.key == *key && r.outcome == RunOutcome::Running) {
            hear(attempts_more, run, answer, world.now);
        }
    }
    settle_gates(&mut status);
    ends::note(&world.task, &mut status, world.now);
    status
}

/// The status of a task that cannot be carried out. What was seen stays, and goes on from there once
/// it can. The end of a Job that goes on is an end all the same, and so is the end of a run's time.
pub(super) fn rejected(world: &TaskWorld, rejection: &Rejection) -> TikvTaskStatus {
    let mut status = world.task.status.clone();
    for run in status.runs.iter_mut().filter(|run| run.outcome == RunOutcome::Running) {
        if let Some(job) = world.jobs.as_ref().and_then(|jobs| jobs.get(&run.key)) {
            hear_job(run, job, world.now);
        }
        let over = run.deadline.as_ref().is_some_and(|deadline| deadline.0 <= world.now);
        if over && !run.outcome.is_final() {
            let message = "its time is over, and the spec is not valid any more".to_owned();
            end(run, RunOutcome::Failed, message, world.now);
        }
    }
    settle_gates(&mut status);
    ends::note(&world.task, &mut status, world.now);
    status.active = count(&status, |run| !run.outcome.is_final());
    status.observed_generation = Some(world.task.generation);
    let words = clip(&rejection.to_string());
    let ready = Verdict::no("InvalidSpec", words.clone());
    conditions(world, ready, &mut status);
    status.summary = Some(format!("The spec is not valid and nothing is done: {words}"));
    status
}

fn clip(text: &str) -> String {
    text.chars().take(MESSAGE_MAX).collect()
}

fn hear(attempts_more: Option<i32>, run: &mut RunStatus, answer: &Answer, now: Timestamp) {
    match answer {
        Answer::Begun => {
            run.message = None;
            run.job_made = true;
            run.next = now.checked_add(TOLD).ok().map(Time);
        }
        Answer::Done(words) => end(run, RunOutcome::Succeeded, clip(words), now),
        Answer::Refused(words) => end(run, RunOutcome::Failed, clip(words), now),
        Answer::Again(words) if attempts_more.is_some_and(|more| run.attempts > more) => {
            end(run, RunOutcome::Failed, clip(words), now);
        }
        Answer::Again(words) => {
            run.job_made = false;
            run.message = Some(clip(words));
            run.next = now.checked_add(pause(run.attempts)).ok().map(Time);
        }
    }
}

fn ready(task: &Task, world: &TaskWorld, status: &TikvTaskStatus) -> Verdict {
    let many = world.clusters.len();
    match &task.target {
        TaskTarget::Name(name)
            if world.clusters_are_known && many == 0 && world.unreadable.is_empty() =>
        {
            let way = "Create it, or correct spec.cluster";
            let words = format!("spec.cluster: there is no TikvCluster {name}. {way}.");
            return Verdict::no("NoCluster", words);
        }
        TaskTarget::Labels(_) if many > CLUSTERS_MAX => {
            return Verdict::no(TOO_MANY_CLUSTERS, left_out(world));
        }
        TaskTarget::Name(_) | TaskTarget::Labels(_) => {}
    }
    if !world.unreadable.is_empty() {
        let names = named(world.unreadable.iter());
        let words = format!(
            "what TikvCluster {names} says in metadata or status cannot be read: nothing starts for it \
             until somebody corrects that."
        );
        return Verdict::no("ClusterUnreadable", words);
    }
    if lacks_jobs(task, world, status) {
        return Verdict::no("JobsUnknown", format!("no Job is made: {UNREAD_JOBS}."));
    }
    if let Some(words) = tries_again(status) {
        return Verdict::no("TriesAgain", words);
    }
    let warned = task.warnings.iter().map(|it| format!("{}: {}", it.field, it.sentence));
    let of_run = status.runs.iter().rev().find_map(|run| run.warning.clone());
    let warned: Vec<String> = warned.chain(of_run).collect();
    if warned.is_empty() {
        let words = "the task can be carried out".to_owned();
        Verdict { is: true, reason: "Accepted", words }
    } else {
        Verdict { is: true, reason: "Warnings", words: clip(&warned.join(" ")) }
    }
}

/// Which clusters are left out of too many.
fn left_out(world: &TaskWorld) -> String {
    let many = world.clusters.len();
    let names = named(world.clusters.keys().skip(CLUSTERS_MAX));
    format!(
        "spec.clusterSelector: selects {many} clusters; only the first {CLUSTERS_MAX} by name are looked \
         after. Left out: {names}. Make several tasks, each with fewer."
    )
}

/// The first of these names, and how many more there are.
fn named<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let all: Vec<&str> = names.map(String::as_str).collect();
    let (first, more) = all.split_at(all.len().min(LEFT_OUT_NAMED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", first.join(", "))
}

/// A run has waited for Jobs to be read for longer than a start of the operator takes.
fn lacks_jobs(task: &Task, world: &TaskWorld, status: &TikvTaskStatus) -> bool {
    let waits = |run: &RunStatus| {
        run.outcome == RunOutcome::Pending && world.now.duration_since(run.since.0) > START
    };
    task.work.is_job() && world.jobs.is_none() && status.runs.iter().any(waits)
}

/// What a run that is tried again was told.
fn tries_again(status: &TikvTaskStatus) -> Option<String> {
    let waits = |run: &&RunStatus| run.outcome == RunOutcome::Running && run.next.is_some();
    let mut waiting = status.runs.iter().filter(waits);
    waiting
        .find_map(|run| Some(format!("run {} is tried again: {}", run.key, run.message.as_ref()?)))
}

fn conditions(world: &TaskWorld, ready: Verdict, status: &mut TikvTaskStatus) {
    let (before, generation) = (&world.task.status.conditions, world.task.generation);
    let ready = ready.condition(READY, before, generation, world.now);
    let failed = ends::said(&status.conditions, generation, world.now);
    status.conditions = vec![ready, failed];
}

fn count(status: &TikvTaskStatus, is: impl Fn(&RunStatus) -> bool) -> i32 {
    i32::try_from(status.runs.iter().filter(|run| is(run)).count()).unwrap_or(i32::MAX)
}

fn summary(task: &Task, world: &TaskWorld, status: &TikvTaskStatus) -> String {
    let running = count(status, |run| run.outcome == RunOutcome::Running);
    let waiting = count(status, |run| run.outcome == RunOutcome::Pending);
    if running + waiting > 0 {
        return format!("{running} runs go on, {waiting} wait");
    }
    if task.suspend {
        return "Suspended".to_owned();
    }
    let Verdict { is, words, .. } = ready(task, world, status);
    if !is {
        return words;
    }
    match &task.trigger {
        Trigger::Events(events) => {
            let names: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
            format!("Waits for {}", names.join(", "))
        }
        Trigger::Schedule(schedule) => match schedule.next(world.now) {
            Some(next) => format!("Next at {next}"),
            None => "Never due again".to_owned(),
        },
        Trigger::Once => match &status.last_outcome {
            Some(outcome) => format!("Ran once: {outcome}"),
            None => "Waits for its cluster".to_owned(),
        },
    }
}
