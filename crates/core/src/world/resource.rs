//! What is known about the resource apart from its spec?

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tikv_operator_api::v1alpha1::TikvClusterStatus;

use super::Uid;

/// The decision to bootstrap: made once, written to status and to every PD volume before the first
/// pod exists, and never made again for this cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapRecord {
    /// etcd's initial-cluster-token: unique per resource uid, so that two clusters never merge.
    pub token: String,
    /// Ordinals of the first PD members, ascending.
    pub members: Vec<u32>,
}

/// The resource's metadata and its last status.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceFacts {
    /// Its name, the cluster's.
    pub name: String,
    /// Its identity.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Set once it is being deleted.
    pub deleting_since: Option<Timestamp>,
    /// Our finalizer is on it.
    pub finalizer: bool,
    /// It is deleted with `--cascade=orphan`, or will be: what it owns is to stay.
    pub orphans: bool,
    /// The announcement that tasks are skipped for, by the annotation `tikv.org/skip-gate`.
    pub skip_gate: Option<String>,
    /// The status as last written. Read for the bootstrap record, the cluster id and transition
    /// times only; everything else in it is computed anew each time.
    pub status: TikvClusterStatus,
}
