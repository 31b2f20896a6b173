//! Is the work of a task one that can be done?

use std::time::Duration;

use serde_json::{Map, Value};
use tikv_operator_api::v1alpha1::{
    CompactRun, ConfigSetRun, HttpRun, PodsRun, RestartRun, ScaleRun, StoreReplaceRun, TaskEvent,
    TaskRun, TikvTask,
};

use super::super::call::Target;
use super::super::spec::{Compact, Http, Pods, Work};
use super::{Problems, job, time};
use crate::check::reserved_item;

const ATTEMPT: Duration = Duration::from_secs(10);
const ATTEMPT_MAX: Duration = Duration::from_mins(1);
const THREADS: i32 = 8;
/// Headers that the call sets itself.
const OWN_HEADERS: [&str; 7] = [
    "content-type",
    "content-length",
    "host",
    "transfer-encoding",
    "connection",
    "user-agent",
    "idempotency-key",
];

/// The work, where exactly one is named.
pub(super) fn work(resource: &TikvTask, problems: &mut Problems) -> Option<Work> {
    let run = &resource.spec.run;
    if named(run) != 1 {
        problems.broken("spec.run", "task-run");
        return None;
    }
    account(resource, problems);
    let of_event = |pods: &[String]| match pods {
        [] => Pods::OfEvent,
        named => Pods::Named(named.to_vec()),
    };
    if let Some(job) = &run.job {
        job::check(resource, &job.template.0, problems);
        return Some(Work::Job(job.template.0.clone()));
    }
    if let Some(compact) = &run.compact {
        return Some(compacted(compact));
    }
    if let Some(http) = &run.http {
        return Some(Work::Http(called(http, problems)));
    }
    if let Some(RestartRun { component, pods }) = &run.restart {
        if let Some(component) = component {
            if !pods.is_empty() {
                problems.broken("spec.run.restart", "task-restart");
            }
            return Some(Work::Restart(Pods::All(*component)));
        }
        has_pod(resource, pods, names_a_pod, "spec.run.restart", problems);
        return Some(Work::Restart(of_event(pods)));
    }
    if let Some(PodsRun { pods }) = &run.evict_leaders {
        has_pod(resource, pods, names_a_store, "spec.run.evictLeaders.pods", problems);
        return Some(Work::Evict(of_event(pods)));
    }
    if let Some(PodsRun { pods }) = &run.restore_leaders {
        has_pod(resource, pods, names_a_store, "spec.run.restoreLeaders.pods", problems);
        return Some(Work::Restore(of_event(pods)));
    }
    if let Some(StoreReplaceRun { pod }) = &run.store_replace {
        let pods = pod.as_slice();
        has_pod(resource, pods, names_a_store, "spec.run.storeReplace.pod", problems);
        return Some(Work::Replace(of_event(pods)));
    }
    if let Some(set) = &run.config_set {
        return Some(configured(set, problems));
    }
    run.scale.as_ref().map(|scale| scaled(scale, problems))
}

fn named(run: &TaskRun) -> usize {
    [
        run.job.is_some(),
        run.http.is_some(),
        run.restart.is_some(),
        run.evict_leaders.is_some(),
        run.restore_leaders.is_some(),
        run.store_replace.is_some(),
        run.compact.is_some(),
        run.config_set.is_some(),
        run.scale.is_some(),
    ]
    .into_iter()
    .filter(|is| *is)
    .count()
}

fn account(resource: &TikvTask, problems: &mut Problems) {
    let run = &resource.spec.run;
    let secret = |http: &HttpRun| !http.headers_from.is_empty() || http.tls.is_some();
    let needed =
        !(run.job.is_some() || run.compact.is_some()) && run.http.as_ref().is_none_or(secret);
    if needed && resource.spec.service_account_name.is_none() {
        problems.broken("spec.serviceAccountName", "task-account");
    }
}

fn compacted(compact: &CompactRun) -> Work {
    Work::Compact(Compact {
        image: compact.image.clone(),
        threads: compact.threads.unwrap_or(THREADS),
        bottommost: compact.bottommost.unwrap_or_default(),
    })
}

/// Events of which each names a pod.
fn names_a_pod(event: TaskEvent) -> bool {
    use TaskEvent as E;
    matches!(
        event,
        E::StoreDown
            | E::StoreBack
            | E::StoreReplaced
            | E::DiskAlmostFull
            | E::PdMemberLost
            | E::PdLeaderChanged
            | E::StoreUpgraded
    )
}

/// Events of which each names the pod of a store.
fn names_a_store(event: TaskEvent) -> bool {
    names_a_pod(event) && !matches!(event, TaskEvent::PdMemberLost | TaskEvent::PdLeaderChanged)
}

/// Where no pod is named, every event of the task must name one that the verb is for.
fn has_pod(
    resource: &TikvTask,
    pods: &[String],
    names: fn(TaskEvent) -> bool,
    field: &str,
    problems: &mut Problems,
) {
    let events = &resource.spec.events;
    let given = !events.is_empty() && events.iter().all(|event| names(*event));
    if pods.is_empty() && !given {
        problems.reject(
            field,
            "No pod is named, and not every trigger of this task is an event about one that this \
             is for. Name the pods.",
        );
    }
}

fn called(http: &HttpRun, problems: &mut Problems) -> Http {
    let field = "spec.run.http";
    match Target::parse(&http.url) {
        Ok(target) => {
            if !target.tls && http.tls.is_some() {
                problems.reject(format!("{field}.tls"), "Needs a URL with https. Change the URL.");
            }
            if !target.tls && !http.headers_from.is_empty() {
                problems.warn(
                    format!("{field}.url"),
                    "What is in Secrets is sent without encryption. Use https.",
                );
            }
        }
        Err(sentence) => problems.reject(format!("{field}.url"), sentence),
    }
    for (name, value) in &http.headers {
        let path = format!("{field}.headers.{name}");
        check_header(name, &path, problems);
        if value.chars().any(char::is_control) {
            problems.reject(path, "Holds a control character. Remove it.");
        }
    }
    for (index, header) in http.headers_from.iter().enumerate() {
        check_header(&header.name, &format!("{field}.headersFrom[{index}].name"), problems);
    }
    let attempt = time(http.attempt_timeout.as_ref(), ATTEMPT);
    if attempt < Duration::from_secs(1) || attempt > ATTEMPT_MAX {
        problems.broken(format!("{field}.attemptTimeout"), "task-attempt-timeout");
    }
    Http {
        url: http.url.clone(),
        headers: http.headers.clone(),
        headers_from: http.headers_from.clone(),
        tls_secret: http.tls.as_ref().map(|tls| tls.secret_name.clone()),
        attempt,
    }
}

fn check_header(name: &str, field: &str, problems: &mut Problems) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        problems.reject(field, "Is no name of a header. Use letters, digits and -.");
    } else if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        problems.reject(field, "Is set by the call itself. Remove it.");
    }
}

fn configured(set: &ConfigSetRun, problems: &mut Problems) -> Work {
    let field = "spec.run.configSet.config";
    let none = Map::new();
    let config = set.config.0.as_object().unwrap_or(&none);
    if config.is_empty() {
        problems.reject(field, "Is empty. Name at least one setting.");
    }
    for item in items("", config) {
        if let Some(sentence) = reserved_item(set.component, &item) {
            problems.reject(field, sentence);
        }
    }
    Work::ConfigSet { component: set.component, config: config.clone() }
}

/// Flat keys of a configuration.
fn items(prefix: &str, config: &Map<String, Value>) -> Vec<String> {
    let below = config.iter().flat_map(|(key, value)| {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value.as_object() {
            Some(table) => items(&path, table),
            None => vec![path],
        }
    });
    below.collect()
}

fn scaled(scale: &ScaleRun, problems: &mut Problems) -> Work {
    let one = scale.by.is_some() != scale.to.is_some();
    let bounds = scale.min.zip(scale.max).is_none_or(|(min, max)| min <= max);
    if !one || scale.by == Some(0) || !bounds {
        problems.broken("spec.run.scale", "task-scale");
    }
    Work::Scale(scale.clone())
}
