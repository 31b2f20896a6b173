//! Which cluster is this, and has it been bootstrapped?
//!
//! The answer is pieced together from three independent places (status, volumes, PD), so that any
//! one may be lost. Where two disagree, there is no answer.

use std::collections::{BTreeMap, BTreeSet};

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
        let ids: BTreeSet<ClusterId> = claims(world).map(|(id, _)| id).collect();
        match (ids.first(), ids.len()) {
            (Some(id), 1) => Self::Known(*id),
            (Some(_), _) => Self::Conflict(describe(world)),
            (None, _) => recorded_bootstrap(world).map_or(Self::Unborn, Self::Starting),
        }
    }
}

/// Who names a cluster id.
enum Source<'a> {
    Status,
    Volume(&'a str),
    Pd,
}

/// Everything that names a cluster id, and which.
fn claims(world: &World) -> impl Iterator<Item = (ClusterId, Source<'_>)> {
    let status = status_cluster_id(world).map(|id| (id, Source::Status));
    let volumes = world
        .volumes
        .iter()
        .filter_map(|(name, volume)| Some((volume.marks.cluster?, Source::Volume(name))));
    let pd = match &world.pd {
        PdView::Known(facts) => Some((facts.cluster_id, Source::Pd)),
        PdView::NotCreated | PdView::Unreachable { .. } => None,
    };
    status.into_iter().chain(volumes).chain(pd)
}

/// What to say where nothing but stores' volumes that another resource used last names a cluster id:
/// they may be this cluster's from before it was deleted, with PD's volumes lost, or another
/// cluster's that were put under these names. Both look the same from here, and what is written
/// down is believed for ever. `None`: somebody else names the id as well, or nobody does.
pub(super) fn hearsay(world: &World) -> Option<String> {
    let mut names = Vec::new();
    for (_, source) in claims(world) {
        let Source::Volume(name) = source else { return None };
        let volume = world.volumes.get(name)?;
        let other = volume.marks.resource.as_ref().is_some_and(|uid| *uid != world.resource.uid);
        if volume.slot.component == Component::Pd || !other {
            return None;
        }
        names.push(name);
    }
    let (id, _) = claims(world).next()?;
    Some(format!(
        "cluster id {id} is named by nothing but {}, which another resource used last. Either this \
         cluster was deleted and made again, and its PD volumes are lost: bring one back, or \
         recover PD by hand with this cluster id (docs/runbooks/pd-lost.md). Or it is another \
         cluster's volume: move it away. Until then nothing is written on it and the id is not \
         recorded",
        names.join(", ")
    ))
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

fn describe(world: &World) -> String {
    let mut by_id: BTreeMap<ClusterId, Vec<String>> = BTreeMap::new();
    for (id, source) in claims(world) {
        by_id.entry(id).or_default().push(match source {
            Source::Status => "status.clusterId".to_owned(),
            Source::Volume(name) => format!("volume claim {name}"),
            Source::Pd => "PD".to_owned(),
        });
    }
    let parts: Vec<String> =
        by_id.iter().map(|(id, who)| format!("{id} by {}", who.join(", "))).collect();
    format!("more than one cluster id is named: {}", parts.join("; "))
}
