//! Can a task be carried out, and what is the way out where not?
//!
//! As for clusters: the schema and its rules run again, then what only this program can see (times,
//! conditions, the shape of a Job). The answer names every field at once.

mod job;
mod run;

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tikv_operator_api::schema::{FindingKind, findings, task_crd};
use tikv_operator_api::v1alpha1::{DurationText, Gate, TaskEvent, TikvTask};

use super::edge::sample;
use super::schedule::Unusable;
use super::spec::{Task, TaskTarget, Trigger};
use super::{Condition, Schedule};
use crate::check::{Problems, Rejection, duration};
use crate::world::Uid;

const TIMEOUT: Duration = Duration::from_hours(1);
const TIMEOUT_MAX: Duration = Duration::from_hours(168);
const BACKOFF_LIMIT: i32 = 3;
const KEEP: i32 = 3;
/// Longest name: a Job is called `<task>-<16 digits>`, and its pods carry that as a label.
const NAME_MAX: usize = 46;

/// The schema of `spec`, read once.
static SPEC: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(task_crd()).unwrap_or_default();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .cloned()
        .unwrap_or_default()
});

/// Checks a task of which nothing is known. `now` is from when on a schedule must have a time.
pub fn check_task(resource: &Value, now: Timestamp) -> Result<Task, Rejection> {
    let mut problems = Problems::default();
    let null = Value::Null;
    let spec = pruned(resource.get("spec").unwrap_or(&null));
    for finding in findings(&SPEC, &spec, "spec") {
        match finding.kind {
            FindingKind::Invalid => problems.reject(finding.field, finding.sentence),
            FindingKind::Unknown => problems.warn(finding.field, finding.sentence),
        }
    }
    let mut stored = resource.clone();
    if let Some(fields) = stored.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
        fields.shift_remove("status");
    }
    let task = match serde_json::from_value::<TikvTask>(stored) {
        Ok(typed) => assemble(&typed, now, &mut problems),
        Err(error) => {
            if problems.is_empty() {
                problems.reject("spec", format!("Cannot be read: {error}."));
            }
            None
        }
    };
    match task {
        Some(task) => problems.finish().map(|warnings| Task { warnings, ..task }),
        None => Err(problems.rejection()),
    }
}

/// Without `null` at the places that the schema knows: absent, as the API server stores it.
fn pruned(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    spec
}

fn assemble(resource: &TikvTask, now: Timestamp, problems: &mut Problems) -> Option<Task> {
    let spec = &resource.spec;
    let metadata = &resource.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let good = !name.is_empty()
        && name.len() <= NAME_MAX
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !good {
        problems.broken("metadata.name", "task-name");
    }
    let target = target(resource, problems);
    let trigger = trigger(resource, now, problems);
    if spec.gate == Some(Gate::Before)
        && (spec.events.is_empty() || !spec.events.iter().all(|event| event.is_announced()))
    {
        problems.broken("spec.gate", "task-gate");
    }
    let when = spec.when.as_deref().and_then(|text| condition(resource, text, problems));
    let timeout = time(spec.timeout.as_ref(), TIMEOUT);
    if timeout < Duration::from_secs(1) || timeout > TIMEOUT_MAX {
        problems.broken("spec.timeout", "task-timeout");
    }
    let work = run::work(resource, problems);
    let keep = |limit: Option<i32>| usize::try_from(limit.unwrap_or(KEEP)).unwrap_or_default();
    Some(Task {
        name,
        namespace: required(metadata.namespace.as_ref(), "metadata.namespace", problems),
        uid: Uid(required(metadata.uid.as_ref(), "metadata.uid", problems)),
        generation: metadata.generation.unwrap_or_default(),
        created: metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
        target: target?,
        trigger: trigger?,
        starting_deadline: seconds(spec.starting_deadline_seconds),
        when,
        before: spec.gate == Some(Gate::Before),
        work: work?,
        concurrency: spec.concurrency_policy.unwrap_or_default(),
        timeout,
        backoff_limit: spec.backoff_limit.unwrap_or(BACKOFF_LIMIT),
        suspend: spec.suspend.unwrap_or_default(),
        keep_succeeded: keep(spec.successful_runs_history_limit),
        keep_failed: keep(spec.failed_runs_history_limit),
        ttl: seconds(spec.ttl_seconds_after_finished),
        account: spec.service_account_name.clone(),
        warnings: Vec::new(),
    })
}

fn seconds(number: Option<i32>) -> Option<Duration> {
    number.and_then(|number| u64::try_from(number).ok()).map(Duration::from_secs)
}

fn required(value: Option<&String>, field: &str, problems: &mut Problems) -> String {
    let value = value.filter(|text| !text.is_empty());
    if value.is_none() {
        problems.reject(field, "Is missing: this is not a resource from an API server.");
    }
    value.cloned().unwrap_or_default()
}

/// A duration whose form the schema has checked.
pub(super) fn time(text: Option<&DurationText>, default: Duration) -> Duration {
    text.map_or(default, |text| duration(&text.0).unwrap_or_default())
}

fn target(resource: &TikvTask, problems: &mut Problems) -> Option<TaskTarget> {
    let spec = &resource.spec;
    match (&spec.cluster, &spec.cluster_selector) {
        (Some(name), None) => Some(TaskTarget::Name(name.clone())),
        (None, Some(selector)) => {
            if selector.match_labels.is_empty() {
                problems.broken("spec.clusterSelector.matchLabels", "task-selector");
            }
            Some(TaskTarget::Labels(selector.match_labels.clone()))
        }
        (Some(_), Some(_)) | (None, None) => {
            problems.broken("spec.cluster", "task-target");
            None
        }
    }
}

fn trigger(resource: &TikvTask, now: Timestamp, problems: &mut Problems) -> Option<Trigger> {
    let spec = &resource.spec;
    let once = spec.immediately == Some(true);
    if spec.time_zone.is_some() && spec.schedule.is_none() {
        problems.broken("spec.timeZone", "task-time-zone");
    }
    if spec.starting_deadline_seconds.is_some() && spec.schedule.is_none() {
        problems
            .warn("spec.startingDeadlineSeconds", "Has a meaning only beside schedule. Remove it.");
    }
    match (spec.events.is_empty(), &spec.schedule, once) {
        (false, None, false) => {
            if let Some(event) = spec.events.iter().find(|event| !event.is_raised()) {
                problems.warn("spec.events", format!("{event} is never raised by this version."));
            }
            Some(Trigger::Events(spec.events.iter().copied().collect()))
        }
        (true, Some(fields), false) => {
            let zone = spec.time_zone.as_deref().unwrap_or("UTC");
            match Schedule::parse(fields, zone, now) {
                Ok(schedule) => Some(Trigger::Schedule(Box::new(schedule))),
                Err(Unusable::Zone(sentence)) => {
                    problems.reject("spec.timeZone", sentence);
                    None
                }
                Err(Unusable::Fields(sentence)) => {
                    problems.reject("spec.schedule", sentence);
                    None
                }
            }
        }
        (true, None, true) => Some(Trigger::Once),
        (_, _, _) => {
            problems.broken("spec.events", "task-trigger");
            None
        }
    }
}

fn condition(resource: &TikvTask, text: &str, problems: &mut Problems) -> Option<Condition> {
    let event = resource.spec.events.first().copied().unwrap_or(TaskEvent::ClusterReady);
    match Condition::parse(text, &sample(event).fields("namespace", "example")) {
        Ok(condition) => Some(condition),
        Err(sentence) => {
            problems.reject("spec.when", sentence);
            None
        }
    }
}
