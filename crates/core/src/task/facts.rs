//! What do objects say about tasks, clusters and Jobs?

use serde::Deserialize as _;
use serde_json::Value;
use tikv_operator_api::v1alpha1::RunKey;
use tikv_operator_api::{TikvClusterStatus, TikvTaskStatus, names};

use super::job::TASK_RUN_LABEL;
use super::report::CONDITIONS;
use super::world::{ClusterView, ImageSettings, JobFacts, JobState, TaskFacts};
use crate::cluster::Cluster;
use crate::facts::text::{self, list, text};

/// The task apart from its spec; `None` where it has no name or uid, or its status is not one: a
/// status that was misread as empty would forget what has happened.
pub fn task_facts(body: &Value) -> Option<TaskFacts> {
    let mut status = match body.get("status") {
        None | Some(Value::Null) => TikvTaskStatus::default(),
        Some(status) => TikvTaskStatus::deserialize(status).ok()?,
    };
    // Conditions of others stay theirs, as with clusters.
    status.conditions.retain(|condition| CONDITIONS.contains(&condition.type_.as_str()));
    Some(TaskFacts {
        name: text(body, "/metadata/name")?.to_owned(),
        namespace: text(body, "/metadata/namespace")?.to_owned(),
        uid: text::uid(body)?,
        generation: body.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0),
        deleting: text(body, "/metadata/deletionTimestamp").is_some(),
        status,
    })
}

/// A cluster as a task sees it, where `in_force` is the checked spec that the operator goes by; `None`
/// where it cannot be read.
pub fn cluster_view(body: &Value, in_force: Option<&Cluster>) -> Option<ClusterView> {
    let status = match body.get("status") {
        None | Some(Value::Null) => TikvClusterStatus::default(),
        Some(status) => TikvClusterStatus::deserialize(status).ok()?,
    };
    let name = text(body, "/metadata/name")?.to_owned();
    let namespace = text(body, "/metadata/namespace")?;
    let service = names::pd_service(&name);
    let host = match text(body, "/spec/clusterDomain") {
        Some(domain) => format!("{service}.{namespace}.svc.{domain}"),
        None => format!("{service}.{namespace}.svc"),
    };
    Some(ClusterView {
        uid: text::uid(body)?,
        labels: text::texts(body, "/metadata/labels"),
        deleting: text(body, "/metadata/deletionTimestamp").is_some(),
        generation: body.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0),
        version: text(body, "/metadata/resourceVersion").and_then(|text| text.parse().ok()),
        pd_wanted: in_force.map(|cluster| number(cluster.pd.replicas)),
        tikv_wanted: in_force.map(|cluster| number(cluster.tikv.replicas)),
        tikv_image: in_force.map(image_of),
        pd_address: format!("{host}:{}", names::PD_CLIENT_PORT),
        name,
        status,
    })
}

fn number(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}

fn image_of(cluster: &Cluster) -> ImageSettings {
    let tikv = &cluster.tikv.common;
    ImageSettings {
        image: tikv.image.clone(),
        pull_policy: tikv.pull_policy,
        pull_secrets: tikv.pull_secrets.clone(),
        tolerations: tikv.tolerations.clone(),
    }
}

/// The key of a Job's run, and how the Job stands; `None` for one that is no run's.
pub fn job_facts(body: &Value) -> Option<(RunKey, JobFacts)> {
    let key = text::texts(body, "/metadata/labels").remove(TASK_RUN_LABEL).map(RunKey)?;
    let ended = |kind: &str| {
        list(body, "/status/conditions").find(|condition| {
            text(condition, "/type") == Some(kind) && text(condition, "/status") == Some("True")
        })
    };
    let failed = body.pointer("/status/failed").and_then(Value::as_i64).unwrap_or_default();
    let state = match (ended("Complete"), ended("Failed")) {
        (Some(_), _) => JobState::Complete,
        (None, Some(condition)) => {
            let words = |field| text(condition, field).unwrap_or_default();
            JobState::Failed(format!("{}: {}", words("/reason"), words("/message")))
        }
        (None, None) => JobState::Active { failed: i32::try_from(failed).unwrap_or(i32::MAX) },
    };
    let facts = JobFacts {
        name: text(body, "/metadata/name")?.to_owned(),
        uid: text::uid(body)?,
        state,
        deleting: text(body, "/metadata/deletionTimestamp").is_some(),
    };
    Some((key, facts))
}
