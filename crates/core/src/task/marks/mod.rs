//! What is so of a cluster, and what has happened since the last look?
//!
//! Everything is derived from what the operator reports of the cluster. A mark is a fact that holds
//! (a store is down, a member leads) with its value; an event is raised where a mark is there that was
//! not, or is gone, or has another value. Marks are kept where the report does not know: unknown is
//! never gone.

mod level;
mod pd;
mod size;
mod stores;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tikv_operator_api::v1alpha1::TaskEvent;

use super::edge::Edge;
use super::world::ClusterView;

pub(super) use self::size::is_whole;
pub(super) use self::upgrade::announcement;

/// Waits of a cluster that are events when they are said first.
pub(crate) const TOLD_WAITS: [&str; 3] = [size::REFUSALS[0], size::REFUSALS[1], pd::QUORUM_RULE];

/// Marks by kind and subject (`StoreDown/5`), as they are persisted.
pub(super) type Marks = BTreeMap<String, String>;

/// What a look at a cluster comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Look {
    /// What is so now.
    pub(super) marks: Marks,
    /// What has happened.
    pub(super) edges: Vec<Edge>,
    /// Look again after this long: something becomes an event by lasting.
    pub(super) wake: Option<SignedDuration>,
}

/// The last look at the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Old<'a> {
    /// What was so.
    pub(super) marks: &'a Marks,
    /// What was looked at: an event that was added since then is only marked, for what is so of it has
    /// been so before.
    pub(super) events: &'a BTreeSet<TaskEvent>,
}

/// A look in the making.
struct Seen<'a> {
    view: &'a ClusterView,
    now: Timestamp,
    /// What was so at the last look; `None` at the first one, which raises nothing.
    old: Option<Old<'a>>,
    events: &'a BTreeSet<TaskEvent>,
    look: Look,
}

/// Looks at a cluster for the sake of these events.
pub(super) fn look(
    view: &ClusterView,
    old: Option<Old<'_>>,
    events: &BTreeSet<TaskEvent>,
    now: Timestamp,
) -> Look {
    let mut seen = Seen { view, now, old, events, look: Look::default() };
    stores::see(&mut seen);
    pd::see(&mut seen);
    size::see(&mut seen);
    upgrade::see(&mut seen);
    level::see(&mut seen);
    seen.look
}

fn key(kind: &str, subject: &str) -> String {
    format!("{kind}/{subject}")
}

impl<'a> Seen<'a> {
    /// Is any of these asked for?
    fn wants(&self, events: &[TaskEvent]) -> bool {
        events.iter().any(|event| self.events.contains(event))
    }

    /// The value of a mark at the last look.
    fn was(&self, kind: &str, subject: &str) -> Option<&'a str> {
        self.old?.marks.get(&key(kind, subject)).map(String::as_str)
    }

    /// Subjects of the marks of a kind at the last look.
    fn were(&self, kind: &str) -> Vec<&'a str> {
        let old = self.old.into_iter().flat_map(|old| old.marks);
        old.filter_map(|(key, _)| key.strip_prefix(kind)?.strip_prefix('/')).collect()
    }

    /// It is so.
    fn mark(&mut self, kind: &str, subject: &str, value: impl Into<String>) {
        self.look.marks.insert(key(kind, subject), value.into());
    }

    /// It is as it was at the last look, for all that is known.
    fn keep(&mut self, kind: &str, subject: &str) {
        if let Some(value) = self.was(kind, subject) {
            self.mark(kind, subject, value);
        }
    }

    /// Something has happened, unless this is the first look for such events.
    fn raise(&mut self, edge: Edge) {
        let looked_at = self.old.is_some_and(|old| old.events.contains(&edge.event));
        if looked_at && self.events.contains(&edge.event) {
            self.look.edges.push(edge);
        }
    }

    /// As [`Self::raise`], of a state that this mark says.
    fn raise_state(&mut self, kind: &str, subject: &str, edge: Edge) {
        self.raise(Edge { mark: Some(key(kind, subject)), ..edge });
    }

    /// It is so, and raises the event if it was not.
    fn level(&mut self, kind: &str, subject: &str, value: &str, edge: Edge) {
        if self.was(kind, subject).is_none() {
            self.raise_state(kind, subject, edge);
        }
        self.mark(kind, subject, value);
    }

    /// Has it been so for `least`? Otherwise looks again when it has.
    fn lasts(&mut self, since: Option<Timestamp>, least: SignedDuration) -> bool {
        let Some(since) = since else { return false };
        let rest = least - self.now.duration_since(since);
        if rest <= SignedDuration::ZERO {
            return true;
        }
        self.look.wake = Some(self.look.wake.map_or(rest, |wake| wake.min(rest)));
        false
    }
}
