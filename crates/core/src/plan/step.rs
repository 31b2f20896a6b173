//! What can the operator do? One variant per call, as data.
//!
//! A step is complete: it carries the identity (uid) of what it touches, so that acting on a stale
//! view is refused by the API server, not by luck.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::world::{
    BootstrapRecord, ClusterId, Component, Kind, Object, ObjectKey, PdMemberId, Revision, StoreId,
    Uid, VolumeMarks,
};

/// One call, to the API server, PD or a store. Steps of a plan are done in order; one that
/// is refused holds up what builds on it ([`Step::builds_on`]), any other failure ends the pass.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a plan has few steps, and none outlives its pass")]
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
    /// Show the API server a pod in a dry run, under strict validation. Makes nothing.
    TryPod {
        /// Whose pod.
        component: Component,
        /// What it is made from.
        revision: Revision,
        /// The pod.
        pod: Object,
    },
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
    /// Delete a volume claim and so, by its class, the data. Only with policy `Delete`.
    DeleteVolume {
        /// Claim name.
        name: String,
        /// The claim meant.
        uid: Uid,
        /// Its version (`metadata.resourceVersion`): what was proved of it was proved of this one.
        version: String,
    },
    /// Write annotations and labels on an object of ours, or take them away (`None`); others stay.
    Mark {
        /// Which object.
        key: ObjectKey,
        /// The object meant.
        uid: Uid,
        /// Annotations to set or to remove.
        annotations: BTreeMap<String, Option<String>>,
        /// Labels to set or to remove.
        labels: BTreeMap<String, Option<String>>,
    },
    /// Ask for a larger volume. Never smaller.
    ResizeVolume {
        /// Claim name.
        name: String,
        /// The claim meant.
        uid: Uid,
        /// The new request, as the user wrote it.
        size: String,
    },
    /// Put a store into PD's evict-leader scheduler. Idempotent.
    EvictLeaders {
        /// The store.
        store: StoreId,
    },
    /// Take a store out of the evict-leader scheduler; only one that we put there.
    StopEvicting {
        /// The store.
        store: StoreId,
    },
    /// Tell PD to remove a store: its regions move elsewhere. Reversible until it is a tombstone.
    OfflineStore {
        /// The store.
        store: StoreId,
        /// Its address, read again before the call: an id alone is not believed.
        address: String,
    },
    /// Cancel the removal of a store.
    KeepStore {
        /// The store.
        store: StoreId,
    },
    /// Move PD's leadership to this member.
    TransferPdLeader {
        /// Name of the member.
        to: String,
    },
    /// Remove a member from PD, by id. Final: its data directory is useless afterwards.
    RemovePdMember {
        /// The member.
        id: PdMemberId,
        /// Its name, read again before the call; empty for a half-joined one.
        name: String,
    },
    /// Set one item of PD's configuration, and verify it.
    SetPdConfig {
        /// Flat key, such as `schedule.leader-schedule-limit`.
        item: String,
        /// Its value.
        value: Value,
    },
    /// Set items of a running store's configuration (not persisted), and verify them.
    SetStoreConfig {
        /// The store.
        store: StoreId,
        /// Host and port of its status server.
        status_address: String,
        /// Flat keys and values.
        items: BTreeMap<String, Value>,
    },
    /// Merge labels into those that PD has of a store.
    SetStoreLabels {
        /// The store.
        store: StoreId,
        /// Labels to set; others stay.
        labels: BTreeMap<String, String>,
    },
    /// Take PD's lock for disruptive work.
    LockMaintenance {
        /// Type of the task, a word.
        kind: String,
        /// Id of the task: the resource's uid.
        id: String,
    },
    /// Give the lock back.
    UnlockMaintenance {
        /// Type of the task.
        kind: String,
        /// Its id.
        id: String,
    },
}

impl Step {
    /// Does this step only tend a Service, a ConfigMap or a disruption budget?
    pub fn is_furniture(&self) -> bool {
        let (Self::Create(Object { key, .. })
        | Self::Apply { object: Object { key, .. }, .. }
        | Self::Prune { key, .. }) = self
        else {
            return false;
        };
        matches!(key.kind, Kind::Service | Kind::ConfigMap | Kind::PodDisruptionBudget)
    }

    /// Does this step take something away from a running cluster? At most one such step per plan,
    /// and each is counted against the operator's budget.
    pub fn is_disruptive(&self) -> bool {
        matches!(
            self,
            Self::DeletePod { .. }
                | Self::DeleteVolume { .. }
                | Self::OfflineStore { .. }
                | Self::TransferPdLeader { .. }
                | Self::RemovePdMember { .. }
        )
    }
}
