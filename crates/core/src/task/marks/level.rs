//! Which plain conditions turned: ready, degraded, drift, cordoned nodes?

use tikv_operator_api::conditions;
use tikv_operator_api::v1alpha1::TaskEvent as E;

use super::super::edge::Edge;
use super::Seen;
use crate::report::DRIFT_LIMIT;

const DRIFT: &str = "ConfigDrift";
const CORDONED: &str = "NodeCordoned";

pub(super) fn see(seen: &mut Seen<'_>) {
    for (event, condition) in
        [(E::ClusterReady, conditions::READY), (E::ClusterDegraded, conditions::DEGRADED)]
    {
        if seen.wants(&[event]) {
            turned(seen, event, condition);
        }
    }
    let view = seen.view;
    if seen.wants(&[E::ConfigDrift]) {
        for drift in &view.status.drift {
            let subject = format!("{}: {}", drift.subject, drift.key);
            let detail = format!("{} is {}, not {}", drift.key, drift.live, drift.wanted);
            let pod = (drift.subject != "pd").then_some(&drift.subject);
            let edge = Edge::new(E::ConfigDrift, &subject, detail).of_pod(pod);
            let edge = edge.between(Some(&drift.wanted), Some(&drift.live));
            seen.level(DRIFT, &subject, "", edge);
        }
        // Of more than are listed, nobody knows which are gone.
        if view.status.drift.len() >= DRIFT_LIMIT {
            for subject in seen.were(DRIFT) {
                seen.keep(DRIFT, subject);
            }
        }
    }
    if seen.wants(&[E::NodeCordoned]) {
        for node in &view.status.cordoned_nodes {
            let edge = Edge::new(E::NodeCordoned, node, format!("node {node} is cordoned"));
            seen.level(CORDONED, node, "", edge);
        }
    }
}

/// A condition is an event each time that it turns true; the time of that is its identity, since it
/// may turn twice between two looks.
fn turned(seen: &mut Seen<'_>, event: E, type_: &str) {
    let view = seen.view;
    let kind = event.as_str();
    let Some(condition) = view.status.conditions.iter().find(|c| c.type_ == type_) else {
        seen.keep(kind, &view.name);
        return;
    };
    if condition.status != "True" {
        return;
    }
    let at = condition.last_transition_time.0.to_string();
    if seen.was(kind, &view.name) != Some(at.as_str()) {
        seen.raise_state(kind, &view.name, Edge::new(event, &view.name, condition.message.clone()));
    }
    seen.mark(kind, &view.name, at);
}
