//! Where does the change of images stand?
//!
//! The announcement stays in the report after its end, so nobody who looks late misses it.

use jiff::SignedDuration;
use tikv_operator_api::v1alpha1::{TaskEvent as E, UpgradeStatus};

use super::super::edge::Edge;
use super::super::world::ClusterView;
use super::Seen;

/// An upgrade is stuck when nothing moved for this long.
const STUCK: SignedDuration = SignedDuration::from_mins(30);

const UPGRADE: &str = "Upgrade";
const FINISHED: &str = "UpgradeFinished";
const STUCK_MARK: &str = "UpgradeStuck";
/// Waits of the cluster that say that somebody holds it.
const HELD: [&str; 3] = ["gate-before-upgrade", "gate-failed", "paused"];

pub(super) fn see(seen: &mut Seen<'_>) {
    if !seen.wants(&[E::UpgradeStarting, E::UpgradeFinished, E::UpgradeStuck]) {
        return;
    }
    let view = seen.view;
    let name = view.name.as_str();
    let Some(upgrade) = &view.status.upgrade else {
        for kind in [UPGRADE, FINISHED] {
            seen.keep(kind, name);
        }
        return;
    };
    if seen.was(UPGRADE, name) != Some(upgrade.id.as_str()) {
        seen.raise(starting(name, upgrade));
    }
    seen.mark(UPGRADE, name, upgrade.id.as_str());
    if upgrade.finished.is_some() {
        if seen.was(FINISHED, name) != Some(upgrade.id.as_str()) {
            let detail = format!("all members run {}", upgrade.to);
            seen.raise(edge(E::UpgradeFinished, name, detail, upgrade));
        }
        seen.mark(FINISHED, name, upgrade.id.as_str());
    } else {
        seen.keep(FINISHED, name);
        stuck(seen, upgrade);
    }
}

/// The announcement of the upgrade that goes on, as an event.
pub(in crate::task) fn announcement(view: &ClusterView) -> Option<Edge> {
    let upgrade = view.status.upgrade.as_ref().filter(|upgrade| upgrade.finished.is_none())?;
    Some(starting(&view.name, upgrade))
}

fn starting(name: &str, upgrade: &UpgradeStatus) -> Edge {
    let detail = format!("{} members are to run {}", upgrade.remaining, upgrade.to);
    let edge = edge(E::UpgradeStarting, name, detail, upgrade);
    Edge { announced: Some(upgrade.id.clone()), ..edge }
}

fn stuck(seen: &mut Seen<'_>, upgrade: &UpgradeStatus) {
    let view = seen.view;
    let held = view.status.waits.iter().any(|wait| HELD.contains(&wait.rule.as_str()));
    if held || !seen.wants(&[E::UpgradeStuck]) || !seen.lasts(Some(upgrade.moved.0), STUCK) {
        return;
    }
    let detail = format!("{} members still run {}", upgrade.remaining, upgrade.from);
    let edge = edge(E::UpgradeStuck, &view.name, detail, upgrade);
    seen.level(STUCK_MARK, &view.name, &upgrade.id, edge);
}

fn edge(event: E, subject: &str, detail: String, upgrade: &UpgradeStatus) -> Edge {
    Edge::new(event, subject, detail).between(Some(&upgrade.from), Some(&upgrade.to))
}
