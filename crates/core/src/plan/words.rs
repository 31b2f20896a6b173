//! How is a step called in logs, metrics and pages?

use super::Step;

impl Step {
    /// The step's name: kebab-case, public, a label of metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "add-finalizer",
            Self::ReleaseFinalizer => "release-finalizer",
            Self::RecordBootstrap(_) => "record-bootstrap",
            Self::RecordClusterId(_) => "record-cluster-id",
            Self::Create(_) => "create",
            Self::TryPod { .. } => "try-pod",
            Self::Apply { .. } => "apply",
            Self::Prune { .. } => "prune",
            Self::MarkVolume { .. } => "mark-volume",
            Self::Mark { .. } => "mark",
            Self::SetStoreUp { .. } => "set-store-up",
            Self::DeletePod { .. } => "delete-pod",
            Self::DeleteVolume { .. } => "delete-volume",
            Self::ResizeVolume { .. } => "resize-volume",
            Self::EvictLeaders { .. } => "evict-leaders",
            Self::StopEvicting { .. } => "stop-evicting",
            Self::OfflineStore { .. } => "offline-store",
            Self::KeepStore { .. } => "keep-store",
            Self::TransferPdLeader { .. } => "transfer-pd-leader",
            Self::RemovePdMember { .. } => "remove-pd-member",
            Self::SetPdConfig { .. } => "set-pd-config",
            Self::SetStoreConfig { .. } => "set-store-config",
            Self::SetStoreLabels { .. } => "set-store-labels",
            Self::LockMaintenance { .. } => "lock-maintenance",
            Self::UnlockMaintenance { .. } => "unlock-maintenance",
        }
    }

    /// What the step touches. Never a body: overlays may hold what users consider secret.
    pub fn subject(&self) -> String {
        match self {
            Self::AddFinalizer | Self::ReleaseFinalizer => "resource".to_owned(),
            Self::RecordBootstrap(record) => format!("{} members", record.members.len()),
            Self::RecordClusterId(id) => id.to_string(),
            Self::Create(object)
            | Self::Apply { object, .. }
            | Self::TryPod { pod: object, .. } => object.key.to_string(),
            Self::Prune { key, .. } | Self::Mark { key, .. } => key.to_string(),
            Self::MarkVolume { name, .. } | Self::DeleteVolume { name, .. } => name.clone(),
            Self::ResizeVolume { name, size, .. } => format!("{name} to {size}"),
            Self::SetStoreUp { pod, up, .. } => format!("{pod} {up}"),
            Self::DeletePod { name, reason, .. } => format!("{name}: {reason}"),
            Self::EvictLeaders { store }
            | Self::StopEvicting { store }
            | Self::KeepStore { store }
            | Self::SetStoreConfig { store, .. }
            | Self::SetStoreLabels { store, .. } => format!("store {store}"),
            Self::OfflineStore { store, address } => format!("store {store} at {address}"),
            Self::TransferPdLeader { to } => to.clone(),
            Self::RemovePdMember { id, name } => format!("{name} ({id})"),
            Self::SetPdConfig { item, value } => format!("{item} = {value}"),
            Self::LockMaintenance { kind, id } | Self::UnlockMaintenance { kind, id } => {
                format!("{kind} {id}")
            }
        }
    }
}
