//! Which events does a pass send?

use tikv_operator_api::conditions;
use tikv_operator_api::v1alpha1::TikvClusterStatus;

use super::{FailureKind, Outcome};
use crate::plan::Step;
use crate::world::World;

/// `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// As expected.
    Normal,
    /// Someone may have to act.
    Warning,
}

/// One event about the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its type.
    pub kind: NoteKind,
    /// CamelCase, stable.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Events for what was done and for conditions that turned.
pub(super) fn of_pass(
    world: &World,
    status: &TikvClusterStatus,
    outcomes: &[Outcome],
) -> Vec<Note> {
    let mut notes: Vec<Note> = outcomes.iter().filter_map(of_outcome).collect();
    for (type_, on, off) in [
        (conditions::READY, (NoteKind::Normal, "Ready"), (NoteKind::Warning, "NotReady")),
        (conditions::DEGRADED, (NoteKind::Warning, "Degraded"), (NoteKind::Normal, "Recovered")),
    ] {
        let find =
            |list: &TikvClusterStatus| list.conditions.iter().find(|c| c.type_ == type_).cloned();
        let Some(new) = find(status) else { continue };
        let before = find(&world.resource.status).map(|c| c.status);
        let unset = before.is_none() && new.status == "False";
        if before.as_ref() != Some(&new.status) && !unset {
            let (kind, reason) = if new.status == "True" { on } else { off };
            notes.push(Note { kind, reason, message: new.message });
        }
    }
    notes
}

fn of_outcome(outcome: &Outcome) -> Option<Note> {
    match &outcome.result {
        Ok(()) => done(&outcome.step).map(|(reason, message)| Note {
            kind: NoteKind::Normal,
            reason,
            message,
        }),
        Err(failure) => match failure.kind {
            FailureKind::Refused | FailureKind::Foreign => Some(Note {
                kind: NoteKind::Warning,
                reason: "StepRefused",
                message: failure.message.clone(),
            }),
            FailureKind::Stale | FailureKind::Unavailable => None,
        },
    }
}

/// What is worth an event: decisions and what comes and goes, not furniture.
fn done(step: &Step) -> Option<(&'static str, String)> {
    let note = match step {
        Step::RecordBootstrap(record) => {
            ("BootstrapStarted", format!("{} PD members form a new cluster", record.members.len()))
        }
        Step::RecordClusterId(id) => ("Bootstrapped", format!("the cluster id is {id}")),
        Step::DeletePod { name, reason, .. } => {
            ("PodDeleted", format!("deleted pod {name}: {reason}"))
        }
        Step::DeleteVolume { name, .. } => {
            ("VolumeDeleted", format!("deleted volume claim {name}"))
        }
        Step::ResizeVolume { name, size, .. } => {
            ("VolumeResized", format!("asked for {size} for volume claim {name}"))
        }
        Step::OfflineStore { store, address } => {
            ("StoreOffline", format!("PD moves the regions of store {store} at {address} away"))
        }
        Step::KeepStore { store } => {
            ("StoreKept", format!("the removal of store {store} is cancelled"))
        }
        Step::TransferPdLeader { to } => {
            ("PdLeaderMoved", format!("asked PD to move its leadership to {to}"))
        }
        Step::RemovePdMember { id, name } => {
            ("PdMemberRemoved", format!("removed member {name} ({id}) from PD"))
        }
        Step::SetPdConfig { item, value } => {
            ("PdConfigured", format!("set {item} to {value} in PD"))
        }
        Step::SetStoreConfig { store, items, .. } => {
            let items: Vec<&str> = items.keys().map(String::as_str).collect();
            ("StoreConfigured", format!("set {} of store {store}", items.join(", ")))
        }
        Step::AddFinalizer
        | Step::ReleaseFinalizer
        | Step::Create(_)
        | Step::TryPod { .. }
        | Step::Apply { .. }
        | Step::Prune { .. }
        | Step::MarkVolume { .. }
        | Step::Mark { .. }
        | Step::SetStoreUp { .. }
        | Step::EvictLeaders { .. }
        | Step::StopEvicting { .. }
        | Step::SetStoreLabels { .. }
        | Step::LockMaintenance { .. }
        | Step::UnlockMaintenance { .. } => return None,
    };
    Some(note)
}
