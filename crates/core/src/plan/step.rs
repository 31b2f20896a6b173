//! What can the operator do? One variant per call, as data.
//!
//! A step is complete: it carries the identity (uid) of what it touches, so that acting on a stale
//! view is refused by the API server, not by luck.

use crate::world::{BootstrapRecord, ClusterId, Object, ObjectKey, Uid, VolumeMarks};

/// One call to the API server. Steps of a plan are done in order; the first failure ends the pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Put our finalizer on the resource.
    AddFinalizer,
    /// Take our finalizer off: the resource may go.
    ReleaseFinalizer,
    /// Write the decision to bootstrap to `status.bootstrap`. Written before the first PD pod.
    RecordBootstrap(BootstrapRecord),
    /// Write the cluster id to `status.clusterId`. Written before the first TiKV pod.
    RecordClusterId(ClusterId),
    /// Create an object that does not exist: a plain create, which never adopts (409).
    Create(Object),
    /// Server-side apply to an object of ours, whose uid it carries.
    Apply {
        /// The wanted object.
        object: Object,
        /// The object meant.
        uid: Uid,
    },
    /// Delete furniture of ours that nothing uses.
    Prune {
        /// Which.
        key: ObjectKey,
        /// The object meant.
        uid: Uid,
    },
    /// Write marks on a volume claim (annotations; unset fields are left alone).
    MarkVolume {
        /// Claim name.
        name: String,
        /// The claim meant.
        uid: Uid,
        /// What to write.
        marks: VolumeMarks,
    },
    /// Set the readiness gate `tikv.org/store-up` in a pod's status.
    SetStoreUp {
        /// Pod name.
        pod: String,
        /// The pod meant.
        uid: Uid,
        /// Its new value.
        up: bool,
    },
    /// Delete a pod; its volumes stay.
    DeletePod {
        /// Pod name.
        name: String,
        /// The pod meant.
        uid: Uid,
        /// Why, for the event.
        reason: String,
    },
    /// Delete a volume claim and so, by its class, the data. Only on deletion with policy `Delete`.
    DeleteVolume {
        /// Claim name.
        name: String,
        /// The claim meant.
        uid: Uid,
    },
}

impl Step {
    /// Does this step take something away from a running cluster? At most one such step per plan.
    pub fn is_disruptive(&self) -> bool {
        match self {
            Self::DeletePod { .. } | Self::DeleteVolume { .. } => true,
            Self::AddFinalizer
            | Self::ReleaseFinalizer
            | Self::RecordBootstrap(_)
            | Self::RecordClusterId(_)
            | Self::Create(_)
            | Self::Apply { .. }
            | Self::Prune { .. }
            | Self::MarkVolume { .. }
            | Self::SetStoreUp { .. } => false,
        }
    }
}
