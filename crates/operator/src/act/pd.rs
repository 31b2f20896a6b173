//! How are steps on PD done?
//!
//! One call each, through the members that were there when it was planned. Where PD answers yes to
//! a setting, it is read back.

use serde_json::Value;
use tikv_operator_core::{
    plan::Step,
    report::{Failure, FailureKind},
    settings,
};

use super::Hand;
use crate::pd::{Change, PdError};

impl Hand<'_> {
    pub(super) async fn take_pd(&self, step: &Step) -> Result<(), Failure> {
        let Some(change) = change(step) else {
            return Err(Failure {
                kind: FailureKind::Refused,
                message: format!("{} is no step on PD", step.name()),
            });
        };
        let changed = self.hands.pd.change(self.fence(), &self.look.pd, change).await;
        changed.map_err(|error| failure(&format!("PD: {}", what(step)), &error))?;
        if let Step::SetPdConfig { item, value } = step {
            return self.read_back(item, value).await;
        }
        Ok(())
    }

    async fn read_back(&self, item: &str, wanted: &Value) -> Result<(), Failure> {
        let config = self.hands.pd.config(&self.look.pd).await;
        let config = config.map_err(|error| failure("PD: reading its configuration", &error))?;
        verified("PD", &config, item, wanted)
    }
}

/// The setting reads back as it was set.
pub(super) fn verified(
    whose: &str,
    config: &Value,
    item: &str,
    wanted: &Value,
) -> Result<(), Failure> {
    let live = settings::live(config, item);
    if live.is_some_and(|live| settings::same(wanted, live)) {
        return Ok(());
    }
    let live = live.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    Err(Failure {
        kind: FailureKind::Refused,
        message: format!("{whose} took {item} = {wanted} and says {live} afterwards"),
    })
}

fn change(step: &Step) -> Option<Change<'_>> {
    Some(match step {
        Step::EvictLeaders { store } => Change::Evict(*store),
        Step::StopEvicting { store } => Change::StopEvicting(*store),
        Step::OfflineStore { store, address: _ } => Change::Offline(*store),
        Step::KeepStore { store } => Change::Keep(*store),
        Step::TransferPdLeader { to } => Change::Transfer(to),
        Step::RemovePdMember { id, name: _ } => Change::RemoveMember(*id),
        Step::SetPdConfig { item, value } => Change::Configure(item, value),
        Step::SetStoreLabels { store, labels } => Change::Label(*store, labels),
        Step::LockMaintenance { kind, id } => Change::Lock(kind, id),
        Step::UnlockMaintenance { kind, id } => Change::Unlock(kind, id),
        Step::AddFinalizer
        | Step::ReleaseFinalizer
        | Step::RecordBootstrap(_)
        | Step::RecordClusterId(_)
        | Step::Create(_)
        | Step::TryPod { .. }
        | Step::Apply { .. }
        | Step::Prune { .. }
        | Step::MarkVolume { .. }
        | Step::Mark { .. }
        | Step::ResizeVolume { .. }
        | Step::SetStoreUp { .. }
        | Step::DeletePod { .. }
        | Step::DeleteVolume { .. }
        | Step::SetStoreConfig { .. } => return None,
    })
}

fn what(step: &Step) -> String {
    format!("{} of {}", step.name(), step.subject())
}

/// What a failed call means. A refusal comes back the same until somebody acts or the state
/// changes; what the server could not do is tried again.
pub(super) fn failure(what: &str, error: &PdError) -> Failure {
    let kind = match error {
        PdError::NotFound(_) | PdError::Refused { status: 410, .. } => FailureKind::Stale,
        PdError::Refused { status: 429, .. } => FailureKind::Unavailable,
        PdError::Refused { status: 400..=499, .. } => FailureKind::Refused,
        PdError::Connect(_)
        | PdError::Broken(_)
        | PdError::Slow(_)
        | PdError::TooLong(_)
        | PdError::NotBootstrapped
        | PdError::Refused { .. }
        | PdError::Malformed(_)
        | PdError::NoLeader(_)
        | PdError::Fenced(_) => FailureKind::Unavailable,
    };
    Failure { kind, message: format!("{what} failed: {error}") }
}
