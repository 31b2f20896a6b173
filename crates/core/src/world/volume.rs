//! What does Kubernetes say about one volume claim, and what did we write on it?

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{ClusterId, PdMemberId, Slot, StoreId, Uid};
use crate::world::BootstrapRecord;

/// `status.phase` of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumePhase {
    /// No volume yet.
    Pending,
    /// It has its volume.
    Bound,
    /// Its volume is gone.
    Lost,
}

/// What the operator writes on a claim, so that a volume can be recognised without the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeMarks {
    /// The resource that uses it (`tikv.org/resource-uid`).
    pub resource: Option<Uid>,
    /// The cluster whose data it holds (`tikv.org/cluster-id`), once that is known.
    pub cluster: Option<ClusterId>,
    /// The store on it (`tikv.org/store-id`), once registered.
    pub store: Option<StoreId>,
    /// The PD member on it (`tikv.org/member-id`), once known.
    pub member: Option<PdMemberId>,
    /// The bootstrap that it belongs to (PD volumes only): a second copy of the status record.
    pub bootstrap: Option<BootstrapRecord>,
    /// Its member was removed for good; it is never mounted again.
    pub retired: bool,
    /// Retired on our mark and PD's word alone: an unsafe recovery may have given the store up while
    /// nobody watched. Such a volume is kept until a person says otherwise (`tikv.org/retired=true`).
    pub unproven: bool,
    /// Since when it is retired; a quarantine counts from then. `None` on a retired volume: unknown.
    pub retired_since: Option<Timestamp>,
    /// Its member is being removed by us: written before the first call to PD that removes it, so
    /// that "removed by us" can be proved afterwards, and taken away when the removal is cancelled.
    pub leaving: Option<Leaving>,
    /// We put this volume's store into the evict-leader scheduler: written before the call, so that
    /// no crash leaves a store without leaders for ever. A kebab-case word: `restart`, `leaving`,
    /// `drain`.
    pub evicting: Option<String>,
    /// This store was made to replace that one. Written at creation, so that no crash can make a
    /// second replacement.
    pub replaces: Option<StoreId>,
    /// Since when one process of the operator has watched without a break how this member is
    /// removed; unset: since the intent was written. A recovery by other hands cannot have gone by
    /// unseen after it.
    pub watched_since: Option<Timestamp>,
    /// The additional volumes that the member uses (on its main volume). One of them that is gone
    /// is a loss, and not a volume that is still to be made.
    pub extra: Option<BTreeSet<String>>,
    /// The version that last wrote the data, as the server reports it.
    pub written_by: Option<String>,
    /// The node that the store's pod was last bound to; an empty name takes the mark off. It outlives the pod: a volume that lives on
    /// that node alone is lost with it, and the pods of a deleted node are deleted as well.
    pub node: Option<String>,
}

/// The intent to remove a member for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Since when.
    pub since: Timestamp,
    /// Why, one kebab-case word: `scale-in`, `replaced`, `surplus`.
    pub reason: String,
}

/// The API server's refusal to let a claim grow: its class does not allow it, or a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowthRefusal {
    /// Its words.
    pub words: String,
    /// How long ago.
    pub ago: SignedDuration,
}

/// One claim that carries this cluster's labels.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeFacts {
    /// Its identity.
    pub uid: Uid,
    /// The version of the object that was looked at (`metadata.resourceVersion`).
    pub version: String,
    /// The slot that it belongs to, by its labels.
    pub slot: Slot,
    /// It is the slot's main volume (data directory), not an additional one.
    pub main: bool,
    /// Its phase.
    pub phase: VolumePhase,
    /// Requested size in bytes.
    pub requested: u64,
    /// Provisioned size in bytes; 0 while pending.
    pub capacity: u64,
    /// Its storage class, if named.
    pub storage_class: Option<String>,
    /// It is being deleted.
    pub deleting: bool,
    /// What Kubernetes says of its growth, where it is under way or failed: the type of the
    /// condition (`Resizing`, `FileSystemResizePending`, `ControllerResizeError`,
    /// `NodeResizeError`) and its message.
    pub growth: Option<String>,
    /// What is asked of the store on it (`tikv.org/replace`), in the words that were written: a wish on the
    /// claim outlives the store's pods.
    pub replace: Option<String>,
    /// What we wrote on it.
    pub marks: VolumeMarks,
}
