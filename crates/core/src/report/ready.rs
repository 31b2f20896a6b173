//! Is the cluster usable and safe? `Ready` is a promise, so it is derived from facts, not from the
//! absence of work.

use jiff::SignedDuration;
use tikv_operator_api::conditions;
use tikv_operator_api::v1alpha1::WaitStatus;

use crate::plan::{Identity, Scene};
use crate::rules::{self, Rule};
use crate::world::{Component, PdFacts, PdView, Slot, StoreState};

/// A busy cluster splits and moves regions all the time: once Ready, it stays so while replication
/// is incomplete for less than this.
const REPLICATION_GRACE: SignedDuration = SignedDuration::from_mins(1);
/// PD elects a new leader within seconds; once Ready, the cluster stays so for this long without
/// an answer.
const PD_GRACE: SignedDuration = SignedDuration::from_secs(15);

/// What keeps the cluster from being Ready.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Obstacle {
    /// CamelCase reason of the condition.
    pub(super) reason: &'static str,
    /// A sentence.
    pub(super) message: String,
}

impl Obstacle {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The first obstacle, or `None` when the cluster is Ready.
pub(super) fn obstacle(scene: &Scene<'_>, waits: &[WaitStatus]) -> Option<Obstacle> {
    if scene.world.resource.deleting_since.is_some() {
        return Some(Obstacle::new("Deleting", "the cluster is being deleted"));
    }
    if let Some(component) = Component::ALL.into_iter().find(|c| scene.suspending(*c)) {
        let message = format!("{component} is stopped by suspendAction; its volumes stay");
        return Some(Obstacle::new("Suspended", message));
    }
    match &scene.identity {
        Identity::Conflict(who) => return Some(Obstacle::new("ClusterIdConflict", who.clone())),
        Identity::Unborn | Identity::Starting(_) => {
            return Some(Obstacle::new("Bootstrapping", "PD has not formed the cluster yet"));
        }
        Identity::Known(_) => {}
    }
    if let Some(obstacle) = pods(scene) {
        return Some(obstacle);
    }
    let was_ready = was_ready(scene);
    match &scene.world.pd {
        PdView::NotCreated => Some(Obstacle::new("PdMissing", "there is no PD pod to ask")),
        PdView::Unreachable { seen_for, .. } if was_ready && *seen_for < PD_GRACE => None,
        PdView::Unreachable { reason, .. } => {
            let message = format!("PD has no leader that answers: {reason}");
            Some(Obstacle::new("PdUnreachable", message))
        }
        PdView::Known(pd) => pd_members(scene, pd)
            .or_else(|| stores(scene, pd))
            .or_else(|| regions(scene, pd, waits, was_ready)),
    }
}

fn was_ready(scene: &Scene<'_>) -> bool {
    let old = &scene.world.resource.status.conditions;
    old.iter().any(|c| c.type_ == conditions::READY && c.status == "True")
}

/// Every wanted slot has a pod of the wanted revision whose containers are ready, and no other
/// slot holds anything.
fn pods(scene: &Scene<'_>) -> Option<Obstacle> {
    for component in Component::ALL {
        let slots = scene.wanted(component);
        if u32::try_from(slots.len()) != Ok(scene.replicas(component)) {
            let message = format!(
                "{} {component} members exist, {} are wanted",
                slots.len(),
                scene.replicas(component)
            );
            return Some(Obstacle::new("WrongNumber", message));
        }
        for slot in slots {
            let name = slot.pod_name(scene.name());
            match scene.member(slot).pod.filter(|pod| pod.deleting_since.is_none()) {
                None => {
                    return Some(Obstacle::new("PodMissing", format!("{name} does not exist")));
                }
                Some(pod) if !pod.containers_ready => {
                    return Some(Obstacle::new("PodNotReady", format!("{name} is not ready")));
                }
                Some(pod) if !scene.is_current(component, pod) => {
                    let message = format!("{name} was made from an earlier spec");
                    return Some(Obstacle::new("OldRevision", message));
                }
                Some(_) => {}
            }
        }
    }
    None
}

fn pd_members(scene: &Scene<'_>, pd: &PdFacts) -> Option<Obstacle> {
    let absent = |slot: &Slot| scene.member(*slot).listed.is_none();
    if let Some(slot) = scene.wanted(Component::Pd).find(absent) {
        let message = format!("{} is not a PD member yet", slot.pod_name(scene.name()));
        return Some(Obstacle::new("PdMemberMissing", message));
    }
    let sick = pd.members.values().find(|m| !m.healthy || m.name.is_empty())?;
    Some(Obstacle::new("PdMemberNotHealthy", format!("PD member {} does not answer", sick.id)))
}

fn stores(scene: &Scene<'_>, pd: &PdFacts) -> Option<Obstacle> {
    if let Some(store) = pd.live_stores().find(|s| s.state != StoreState::Up) {
        let message = format!("store {} at {} is not Up", store.id, store.address);
        return Some(Obstacle::new("StoreNotUp", message));
    }
    let absent = |slot: &Slot| scene.member(*slot).store.is_none();
    let slot = scene.wanted(Component::Tikv).find(absent)?;
    let message = format!("{} has not registered its store yet", slot.pod_name(scene.name()));
    Some(Obstacle::new("StoreMissing", message))
}

fn regions(
    scene: &Scene<'_>,
    pd: &PdFacts,
    waits: &[WaitStatus],
    was_ready: bool,
) -> Option<Obstacle> {
    let within = |rule: &Rule, grace| was_ready && waited(scene, waits, rule) < grace;
    if !pd.fully_replicated() && !within(&rules::REGIONS_REPLICATED, REPLICATION_GRACE) {
        let message = "not every region has its replicas yet".to_owned();
        return Some(Obstacle::new("RegionsNotReplicated", message));
    }
    let unsettled = waits.iter().any(|w| w.rule == rules::PROOF_SETTLES.name);
    if unsettled && !was_ready {
        let message = "PD's leader changed less than a minute ago".to_owned();
        return Some(Obstacle::new("ProofSettles", message));
    }
    None
}

/// For how long this rule has been waiting, by status.
fn waited(scene: &Scene<'_>, waits: &[WaitStatus], rule: &Rule) -> SignedDuration {
    waits
        .iter()
        .filter(|w| w.rule == rule.name)
        .filter_map(|w| w.since.as_ref())
        .map(|since| scene.world.now.duration_since(since.0))
        .max()
        .unwrap_or(SignedDuration::ZERO)
}
