//! Which cluster is this, and has it been bootstrapped?
//!
//! The answer is pieced together from three independent places (status, volumes, PD), so that any
//! one may be lost. Where two disagree, there is no answer.

use std::collections::BTreeMap;

use tikv_operator_api::names;

use crate::world::{BootstrapRecord, ClusterId, Component, PdView, World};

/// What is known about the identity of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Identity {
    /// Nothing exists: the decision to bootstrap is still to be made.
    Unborn,
    /// The decision is made and no cluster id is known yet.
    Starting(BootstrapRecord),
    /// The cluster exists. It is never bootstrapped again.
    Known(ClusterId),
    /// Sources disagree: who says what.
    Conflict(String),
}

impl Identity {
    /// Derives the identity from everything that names it.
    pub fn of(world: &World) -> Self {
        let mut claims: BTreeMap<ClusterId, Vec<String>> = BTreeMap::new();
        if let Some(id) = status_cluster_id(world) {
            claims.entry(id).or_default().push("status.clusterId".to_owned());
        }
        for (name, volume) in &world.volumes {
            if let Some(id) = volume.marks.cluster {
                claims.entry(id).or_default().push(format!("volume claim {name}"));
            }
        }
        if let PdView::Known(facts) = &world.pd {
            claims.entry(facts.cluster_id).or_default().push("PD".to_owned());
        }
        let mut ids = claims.keys().copied();
        match (ids.next(), ids.next()) {
            (Some(id), None) => Self::Known(id),
            (Some(_), Some(_)) => Self::Conflict(describe(&claims)),
            (None, _) => recorded_bootstrap(world).map_or(Self::Unborn, Self::Starting),
        }
    }
}

/// The cluster id in status; unreadable text counts as none, since the volumes carry it too.
pub(super) fn status_cluster_id(world: &World) -> Option<ClusterId> {
    world.resource.status.cluster_id.as_ref()?.parse().ok().map(ClusterId)
}

/// The bootstrap record in status.
pub(super) fn status_bootstrap(world: &World) -> Option<BootstrapRecord> {
    let marker = world.resource.status.bootstrap.as_ref()?;
    let cluster = world.resource.name.as_str();
    let members = marker
        .members
        .iter()
        .filter_map(|pod| names::ordinal(cluster, Component::Pd, pod))
        .collect();
    Some(BootstrapRecord { token: marker.token.clone(), members })
}

/// The record of the bootstrap, from status or else from a PD volume.
pub(super) fn recorded_bootstrap(world: &World) -> Option<BootstrapRecord> {
    status_bootstrap(world).or_else(|| {
        world
            .volumes
            .values()
            .filter(|v| v.slot.component == Component::Pd && !v.marks.retired)
            .find_map(|v| v.marks.bootstrap.clone())
    })
}

fn describe(claims: &BTreeMap<ClusterId, Vec<String>>) -> String {
    let parts: Vec<String> =
        claims.iter().map(|(id, who)| format!("{id} by {}", who.join(", "))).collect();
    format!("more than one cluster id is named: {}", parts.join("; "))
}
