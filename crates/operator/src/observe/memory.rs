//! What does only this process know about a cluster?
//!
//! How long it has seen a PD leader, or has had no answer; what it found in the way of its
//! creates; what it wrote last. By the monotonic clock, so that a jump of the wall clock neither
//! shortens nor lengthens a delay. A restart starts all of it anew.

use std::{collections::BTreeMap, time::Duration};

use http::uri::Authority;
use jiff::SignedDuration;
use serde_json::Value;
use tikv_operator_core::world::{LeaderFacts, ObjectKey, PdMemberId, PdView};
use tokio::time::Instant;

use crate::pd::PdAnswer;

/// A stranger is believed to be there for this long, then the name is tried again.
const STRANGER_TIME: Duration = Duration::from_mins(1);

/// A namespace is believed to be going for this long, then a create is tried again.
const NAMESPACE_TIME: Duration = Duration::from_mins(1);

/// One cluster's memory.
#[derive(Debug, Default)]
pub struct Memory {
    leader: Option<(PdMemberId, Instant)>,
    /// Some leader was seen before the present one.
    had_another: bool,
    silent_since: Option<Instant>,
    strangers: BTreeMap<ObjectKey, (String, Instant)>,
    /// The PD member that answered last.
    pub answered: Option<Authority>,
    /// The resource as the last write left it; the watch may lag behind.
    pub written: Option<Value>,
    /// When the status was last written.
    pub reported: Option<Instant>,
    /// When the server last said that the namespace is being deleted.
    pub namespace_went: Option<Instant>,
}

impl Memory {
    /// Notes an answer or its absence, and what follows for the planner.
    pub fn hear_pd(&mut self, answer: Result<PdAnswer, String>, now: Instant) -> PdView {
        match answer {
            Ok(answer) => {
                self.silent_since = None;
                self.answered = Some(answer.through.clone());
                let leader = self.see_leader(answer.leader, now);
                PdView::Known(Box::new(answer.into_facts(leader)))
            }
            Err(reason) => {
                self.had_another |= self.leader.take().is_some();
                let since = *self.silent_since.get_or_insert(now);
                PdView::Unreachable { seen_for: signed(now.duration_since(since)), reason }
            }
        }
    }

    fn see_leader(&mut self, id: PdMemberId, now: Instant) -> LeaderFacts {
        let since = match self.leader {
            Some((before, since)) if before == id => since,
            Some(_) => {
                self.had_another = true;
                now
            }
            None => now,
        };
        self.leader = Some((id, since));
        LeaderFacts { id, seen_for: signed(now.duration_since(since)), changed: self.had_another }
    }

    /// PD was not asked because it has no pods.
    pub fn no_pd(&mut self) -> PdView {
        self.had_another |= self.leader.take().is_some();
        self.silent_since = None;
        PdView::NotCreated
    }

    /// Is the namespace being deleted, as far as was heard? Then there is no use in creating.
    pub fn namespace_is_going(&self, now: Instant) -> bool {
        self.namespace_went.is_some_and(|heard| now.duration_since(heard) < NAMESPACE_TIME)
    }

    /// Something that is not ours has a name that we need.
    pub fn met(&mut self, key: ObjectKey, whose: String, now: Instant) {
        self.strangers.insert(key, (whose, now));
    }

    /// What has been met lately.
    pub fn strangers(&mut self, now: Instant) -> BTreeMap<ObjectKey, String> {
        self.strangers.retain(|_, (_, met)| now.duration_since(*met) < STRANGER_TIME);
        self.strangers.iter().map(|(key, (whose, _))| (key.clone(), whose.clone())).collect()
    }

    /// The newer of the resource as watched and as last written. Versions of one API server are
    /// ordered numbers (guaranteed since Kubernetes 1.35, true before); others are not compared.
    pub fn newest<'a>(&'a self, watched: &'a Value) -> &'a Value {
        let version = |body: &Value| -> Option<u128> {
            body.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
        };
        let uid = |body: &Value| body.pointer("/metadata/uid").cloned();
        match &self.written {
            Some(written)
                if uid(written) == uid(watched) && version(written) > version(watched) =>
            {
                written
            }
            Some(_) | None => watched,
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tikv_operator_core::world::Kind;

    use super::*;

    fn leader(memory: &mut Memory, id: u64, now: Instant) -> (u64, bool) {
        let facts = memory.see_leader(PdMemberId(id), now);
        (u64::try_from(facts.seen_for.as_secs()).unwrap(), facts.changed)
    }

    fn silent(memory: &mut Memory, now: Instant) -> i64 {
        match memory.hear_pd(Err("x".to_owned()), now) {
            PdView::Unreachable { seen_for, .. } => seen_for.as_secs(),
            PdView::NotCreated | PdView::Known(_) => panic!("heard nothing"),
        }
    }

    #[test]
    fn a_leader_is_seen_for_as_long_as_it_was_seen_without_a_break() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        assert_eq!(leader(&mut memory, 1, at(0)), (0, false));
        assert_eq!(leader(&mut memory, 1, at(30)), (30, false));
        assert_eq!(leader(&mut memory, 2, at(40)), (0, true));
        assert_eq!(leader(&mut memory, 2, at(100)), (60, true));
    }

    #[test]
    fn silence_breaks_the_sight_of_the_leader() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        leader(&mut memory, 1, at(0));
        assert_eq!(silent(&mut memory, at(10)), 0);
        assert_eq!(silent(&mut memory, at(25)), 15);
        assert_eq!(leader(&mut memory, 1, at(26)), (0, true));
    }

    #[test]
    fn silence_before_the_first_leader_is_no_change() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        silent(&mut memory, now);
        assert_eq!(leader(&mut memory, 1, now), (0, false));
    }

    #[test]
    fn a_stranger_is_forgotten_after_a_minute() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.met(ObjectKey::new(Kind::Service, "a-pd"), "theirs".to_owned(), now);
        assert_eq!(memory.strangers(now + Duration::from_secs(59)).len(), 1);
        assert_eq!(memory.strangers(now + Duration::from_mins(1)).len(), 0);
    }

    #[test]
    fn what_was_written_counts_until_the_watch_has_caught_up() {
        let object = |uid: &str, version: &str| json!({ "metadata": { "uid": uid, "resourceVersion": version } });
        let written = Some(object("u", "100"));
        let memory = Memory { written, ..Memory::default() };
        assert_eq!(memory.newest(&object("u", "99")), &object("u", "100"));
        assert_eq!(memory.newest(&object("u", "101")), &object("u", "101"));
        assert_eq!(memory.newest(&object("other", "99")), &object("other", "99"));
        assert_eq!(memory.newest(&object("u", "odd")), &object("u", "100"));
    }
}
