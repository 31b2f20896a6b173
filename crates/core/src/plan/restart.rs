//! How is one store restarted?
//!
//! The question that decides is asked by the guards of the pod's deletion: would any region lose its
//! quorum, is anything else out of order, does PD know enough? Leaders are moved away only for a
//! deletion that these allow. What a restart left half done (the mark on the volume, the scheduler in
//! PD) is ended by [`evict::finish`] as soon as nobody asks for it and the store is back.

use super::draft::Draft;
use super::evict::{self, Eviction};
use super::rows::Member;
use super::{Scene, Step, calm, maintenance};

/// Why the store is evicted, on its volume.
pub(super) const REASON: &str = "restart";

/// A restart of this store has begun: its leaders are being moved away for it, or its pod is on the
/// way back.
pub(super) fn is_marked(member: &Member<'_>) -> bool {
    member.volume.is_some_and(|volume| volume.marks.evicting.as_deref() == Some(REASON))
}

/// Restarts the member's pod, as far as the moment allows: one pass, one step. `why` begins the
/// event's sentence.
pub(super) fn proceed(scene: &Scene<'_>, draft: &mut Draft<'_>, member: &Member<'_>, why: &str) {
    let Some(pod) = member.pod else { return };
    let name = member.slot.pod_name(scene.name());
    let delete =
        |reason: String| Step::DeletePod { name: name.clone(), uid: pod.uid.clone(), reason };
    if !draft.may(name.clone(), &delete(why.to_owned())) {
        // Leaders are not sent back and forth for what passes in a moment; but a store does not
        // stay without leaders while another one is missing.
        if is_marked(member) && calm::disturbance(scene, &[member.slot]).is_none() {
            evict::begin(scene, draft, member.slot, REASON);
        }
        return;
    }
    if !maintenance::take(scene, &name, draft) {
        return;
    }
    let reason = match away(scene, draft, member) {
        Eviction::Begun | Eviction::Draining(_) => return,
        Eviction::Empty | Eviction::Unregistered => why.to_owned(),
        Eviction::Nowhere => format!("{why}; its leaders have nowhere to go"),
        Eviction::Stalled(leaders) => format!(
            "{why}; its last {leaders} leaders did not move within {} s",
            scene.cluster.tikv.evict_leader_timeout.as_secs()
        ),
    };
    draft.propose(name.clone(), delete(reason));
}

/// Moves the leaders away. With one replica per region there is nobody to lead instead.
fn away(scene: &Scene<'_>, draft: &mut Draft<'_>, member: &Member<'_>) -> Eviction {
    if scene.pd().is_some_and(|pd| pd.max_replicas == Some(1)) {
        return Eviction::Nowhere;
    }
    evict::begin(scene, draft, member.slot, REASON)
}
