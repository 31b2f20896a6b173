//! Has the cluster been born, and is that written down?
//!
//! The decision is recorded before its effects: first members before the first PD pod, cluster id
//! before the first store. A record lost from status comes back from the volumes or from PD.

use super::draft::Draft;
use super::identity::{status_bootstrap, status_cluster_id};
use super::{Identity, Scene, Step};
use crate::rules;
use crate::world::BootstrapRecord;

/// Records the decision to bootstrap, then the cluster id. True while the decision is not made yet:
/// then nothing else is to be planned.
pub(super) fn record(scene: &Scene<'_>, draft: &mut Draft<'_>) -> bool {
    match &scene.identity {
        Identity::Conflict(_) => {}
        Identity::Unborn => {
            draft.propose(scene.name(), Step::RecordBootstrap(first_members(scene)));
            return true;
        }
        Identity::Starting(record) => {
            if status_bootstrap(scene.world).is_none() {
                draft.propose(scene.name(), Step::RecordBootstrap(record.clone()));
            }
            say_what_waits(scene, record, draft);
        }
        Identity::Known(id) => {
            if status_cluster_id(scene.world) != Some(*id) {
                draft.propose(scene.name(), Step::RecordClusterId(*id));
            }
        }
    }
    false
}

/// The members and the token of a bootstrap that is decided now.
fn first_members(scene: &Scene<'_>) -> BootstrapRecord {
    BootstrapRecord {
        token: scene.world.resource.uid.to_string(),
        members: (0..scene.cluster.pd.replicas).collect(),
    }
}

fn say_what_waits(scene: &Scene<'_>, record: &BootstrapRecord, draft: &mut Draft<'_>) {
    let wanted = scene.cluster.pd.replicas;
    if usize::try_from(wanted).ok() != Some(record.members.len()) {
        let detail = format!(
            "spec.pd.replicas is {wanted}; the first {} PD members form the cluster before that",
            record.members.len()
        );
        draft.wait("spec.pd.replicas", &rules::BOOTSTRAP_ONCE, detail);
    }
}
