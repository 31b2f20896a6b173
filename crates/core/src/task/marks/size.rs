//! Has the cluster another size than it had?
//!
//! The last size that was wanted and reached is remembered; what the spec asks for and what the
//! report counts is compared with it.

use tikv_operator_api::v1alpha1::TaskEvent as E;

use super::super::edge::Edge;
use super::super::world::ClusterView;
use super::Seen;

const SIZE: &str = "Size";
const SCALING: &str = "Scaling";
const REFUSED: &str = "ScaleRefused";
/// Waits of the cluster that refuse a smaller size.
pub(super) const REFUSALS: [&str; 2] = ["stores-fit-max-replicas", "stores-have-room"];

pub(super) fn see(seen: &mut Seen<'_>) {
    if seen.wants(&[E::ScaleStarted, E::ScaleFinished]) {
        let view = seen.view;
        component(seen, "pd", view.pd_wanted, has_all_members(view));
        component(seen, "tikv", view.tikv_wanted, has_all_stores(view));
    }
    if seen.wants(&[E::ScaleRefused]) {
        refused(seen);
    }
}

fn component(seen: &mut Seen<'_>, component: &str, wanted: Option<i32>, whole: bool) {
    let Some(wanted) = wanted.map(|wanted| wanted.to_string()) else {
        seen.keep(SIZE, component);
        seen.keep(SCALING, component);
        return;
    };
    let Some(size) = seen.was(SIZE, component) else {
        // The first look: a scaling that goes on already is none of this task's.
        seen.mark(SIZE, component, wanted);
        return;
    };
    let target = seen.was(SCALING, component);
    if target.is_none() && size == wanted {
        seen.mark(SIZE, component, size);
        return;
    }
    if target != Some(wanted.as_str()) {
        let detail = format!("{component} goes from {size} to {wanted} members");
        let edge = Edge::new(E::ScaleStarted, component, detail);
        seen.raise(edge.between(Some(size), Some(&wanted)));
    }
    // What was just asked for cannot have been counted yet.
    if whole && target == Some(wanted.as_str()) {
        let detail = format!("{component} has its {wanted} members");
        let edge = Edge::new(E::ScaleFinished, component, detail);
        seen.raise(edge.between(Some(size), Some(&wanted)));
        seen.mark(SIZE, component, wanted);
        return;
    }
    seen.mark(SIZE, component, size);
    seen.mark(SCALING, component, wanted);
}

/// Are all there that the spec asks for, and well?
pub(in super::super) fn is_whole(view: &ClusterView) -> bool {
    has_all_members(view) && has_all_stores(view)
}

fn has_all_members(view: &ClusterView) -> bool {
    let Some(pd) = &view.status.pd else { return false };
    let healthy = pd.members.iter().all(|m| m.healthy && m.leaving.is_none() && m.pod.is_some());
    view.is_current() && healthy && view.pd_wanted == Some(count(pd.members.len()))
}

fn has_all_stores(view: &ClusterView) -> bool {
    let Some(tikv) = &view.status.tikv else { return false };
    let up = tikv.stores.iter().all(|store| {
        let up = store.state.as_deref() == Some("Up");
        up && store.leaving.is_none() && store.pod.is_some()
    });
    view.is_current() && up && view.tikv_wanted == Some(count(tikv.stores.len()))
}

fn count(members: usize) -> i32 {
    i32::try_from(members).unwrap_or(i32::MAX)
}

/// A wait is not said where the operator stopped before it came to it: the cluster is paused, or
/// something else comes first. A refusal is over when all members are there, or when the spec asks for
/// another number.
fn refused(seen: &mut Seen<'_>) {
    let view = seen.view;
    let wanted = view.tikv_wanted.map(|wanted| wanted.to_string()).unwrap_or_default();
    for wait in view.status.waits.iter().filter(|w| REFUSALS.contains(&w.rule.as_str())) {
        let edge = Edge::new(E::ScaleRefused, &wait.subject, wait.detail.clone());
        seen.level(REFUSED, &wait.subject, &wanted, edge);
    }
    if has_all_stores(view) {
        return;
    }
    for subject in seen.were(REFUSED) {
        if wanted.is_empty() || seen.was(REFUSED, subject) == Some(wanted.as_str()) {
            seen.keep(REFUSED, subject);
        }
    }
}
