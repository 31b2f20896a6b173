//! What is to be said about the cluster?
//!
//! Status is computed from facts each time. Of the previous status only transition times, the
//! bootstrap record and the cluster id are carried on, and `Ready` for hysteresis.

mod conditions;
mod drift;
mod members;
mod note;
mod outcome;
mod ready;
mod since;
mod summary;
mod upgrade;

pub(crate) use drift::LIMIT as DRIFT_LIMIT;
pub use note::{Note, NoteKind};
pub use outcome::{Failure, FailureKind, Outcome};
pub use since::is_event;
use tikv_operator_api::v1alpha1::{Bootstrap, TikvClusterStatus, WaitStatus};

use crate::check::Rejection;
use crate::cluster::Cluster;
use crate::plan::{Plan, Scene, Step, Wait};
use crate::world::{Slot, World};

/// The status to write and the events to send after a pass.
pub fn report(
    cluster: &Cluster,
    world: &World,
    plan: &Plan,
    outcomes: &[Outcome],
) -> (TikvClusterStatus, Vec<Note>) {
    let scene = Scene::new(cluster, world);
    let outcomes: &[Outcome] = &outcome::lasting(outcomes);
    let mut status = carried(world, outcomes);
    status.observed_generation = Some(cluster.generation);
    status.waits = plan.waits.iter().map(|wait| wait_status(wait, world)).collect();
    let (pd, tikv) = members::members(&scene);
    status.pd = Some(pd);
    status.tikv = Some(tikv);
    status.drift = drift::of(&scene);
    status.upgrade = upgrade::of(&scene, plan);
    status.cordoned_nodes = since::cordoned(&scene);
    let obstacle = ready::obstacle(&scene, &status.waits);
    status.conditions = conditions::of_pass(&scene, plan, outcomes, obstacle.as_ref());
    status.summary = Some(summary::of_pass(&scene, plan, outcomes, obstacle.as_ref()));
    let notes = note::of_pass(world, &status, outcomes);
    (status, notes)
}

/// The status when the spec was rejected: the cluster is left as it is, and the conditions say why.
pub fn report_rejection(world: &World, rejection: &Rejection) -> (TikvClusterStatus, Vec<Note>) {
    let mut status = world.resource.status.clone();
    status.observed_generation = Some(world.resource.generation);
    status.conditions = conditions::of_rejection(world, &rejection.to_string());
    status.summary = Some(format!("The spec is not valid and nothing is changed: {rejection}"));
    let notes = note::of_pass(world, &status, &[]);
    (status, notes)
}

/// As [`report`], where the spec was edited to one that is not valid: `cluster` is the last valid one,
/// which stays in force, and the conditions say what is wrong with the new one.
pub fn report_kept(
    kept: &Kept<'_>,
    world: &World,
    plan: &Plan,
    outcomes: &[Outcome],
) -> (TikvClusterStatus, Vec<Note>) {
    let (mut status, _) = report(kept.cluster, world, plan, outcomes);
    status.observed_generation = Some(world.resource.generation);
    let message = format!(
        "{} The last valid spec (generation {}) stays in force.",
        kept.rejection, kept.cluster.generation
    );
    conditions::reject(&mut status.conditions, world, &message);
    status.summary = Some(format!("The spec is not valid: {message}"));
    let notes = note::of_pass(world, &status, &outcome::lasting(outcomes));
    (status, notes)
}

/// A rejected spec, and the one that is kept to.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// What is wrong with the present one.
    pub rejection: &'a Rejection,
    /// The last valid one of the same resource.
    pub cluster: &'a Cluster,
}

/// Is the new status worth a write? Counts that every heartbeat changes are not, by themselves.
pub fn worth_writing(old: &TikvClusterStatus, new: &TikvClusterStatus) -> bool {
    old != new && with_counts_of(old, new) != *old
}

/// The new status with the counts of the old one.
fn with_counts_of(old: &TikvClusterStatus, new: &TikvClusterStatus) -> TikvClusterStatus {
    let mut status = new.clone();
    let stores = status.tikv.iter_mut().flat_map(|tikv| tikv.stores.iter_mut());
    for (store, before) in stores.zip(old.tikv.iter().flat_map(|tikv| &tikv.stores)) {
        (store.leaders, store.regions) = (before.leaders, before.regions);
        if let (Some(progress), Some(before)) = (&mut store.progress, &before.progress) {
            progress.bytes_per_second = before.bytes_per_second;
            progress.seconds_left = before.seconds_left;
        }
    }
    status
}

/// The previous status with the record that `step` makes, where it makes one. `act` writes this.
pub fn with_record(world: &World, step: &Step) -> Option<TikvClusterStatus> {
    let mut status = world.resource.status.clone();
    if let Step::RecordBootstrap(record) = step {
        let members = record.members.iter().map(|o| Slot::pd(*o).pod_name(&world.resource.name));
        status.bootstrap = Some(Bootstrap {
            token: record.token.clone(),
            members: members.collect(),
            at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now),
        });
        return Some(status);
    }
    if let Step::RecordClusterId(id) = step {
        status.cluster_id = Some(id.to_string());
        return Some(status);
    }
    None
}

/// What is carried on from the previous status, with the records that were made in this pass.
fn carried(world: &World, outcomes: &[Outcome]) -> TikvClusterStatus {
    let old = &world.resource.status;
    let mut status = TikvClusterStatus {
        cluster_id: old.cluster_id.clone(),
        bootstrap: old.bootstrap.clone(),
        ..TikvClusterStatus::default()
    };
    for outcome in outcomes.iter().filter(|o| o.result.is_ok()) {
        if let Some(written) = with_record(world, &outcome.step) {
            status.cluster_id = status.cluster_id.or(written.cluster_id);
            status.bootstrap = status.bootstrap.or(written.bootstrap);
        }
    }
    status
}

/// A wait with the time since when it has been in status.
fn wait_status(wait: &Wait, world: &World) -> WaitStatus {
    let before = world
        .resource
        .status
        .waits
        .iter()
        .find(|old| old.rule == wait.rule.name && old.subject == wait.subject);
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now);
    WaitStatus {
        subject: wait.subject.clone(),
        rule: wait.rule.name.to_owned(),
        detail: wait.detail.clone(),
        since: before.and_then(|old| old.since.clone()).or(Some(now)),
    }
}

#[cfg(test)]
mod tests;
