//! When are two moments alike, so that what can follow from one need not be looked at again?
//!
//! A number is made of everything that decides what happens next, and of nothing else. Uids and the
//! ids of clusters and members are numbered in the order in which they are met; versions of objects
//! and progress of logs are left out, since only whether somebody is up to date matters. Times are
//! told as how long ago or how long until, in grains, and what is longer ago than [`Sight::old`] is old.
//! So moments can be taken for alike that differ within a grain: the first that is met stands for
//! all of them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use jiff::Timestamp;
use serde_json::Value;

use crate::clock;

/// An id of this size was thrown by dice. Those of stores, regions and disks are counted up.
const THROWN: u64 = 1 << 40;
/// Kubelet's back-off does not grow any more after so many restarts.
const RESTARTS: u64 = 6;

/// How well times are told apart, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Within so many seconds of each other they are the same.
    pub grain: u64,
    /// What is longer ago is old, however long. What takes longer than this is gone on with until it
    /// shows; but something that happens again and again meanwhile looks like a circle.
    pub old: u64,
}

impl Default for Sight {
    /// Longer than the waits after a change of PD's leader.
    fn default() -> Self {
        Self { grain: 10, old: 80 }
    }
}

/// Something that decides what happens next.
pub(crate) trait Alike {
    /// Adds all of it that does.
    fn tell(&self, to: &mut Likeness);
}

/// The number of a moment while it is made.
pub(crate) struct Likeness {
    hasher: DefaultHasher,
    now: u64,
    sight: Sight,
    names: BTreeMap<String, usize>,
}

impl Likeness {
    /// Nothing has been told yet of what there is now.
    pub(crate) fn new(now: u64, sight: Sight) -> Self {
        Self { hasher: DefaultHasher::new(), now, sight, names: BTreeMap::new() }
    }

    /// The number.
    pub(crate) fn number(&self) -> u64 {
        self.hasher.finish()
    }

    /// Something in which there is neither a time nor an id.
    pub(crate) fn same(&mut self, value: impl Hash) {
        value.hash(&mut self.hasher);
    }

    /// Everything in a collection, and how much there is of it.
    pub(crate) fn each<T>(&mut self, items: &[T], tell: impl Fn(&mut Self, &T)) {
        self.same(items.len());
        for item in items {
            tell(self, item);
        }
    }

    /// A time, past or to come.
    pub(crate) fn time(&mut self, at: u64) {
        let (sign, span) = if at > self.now {
            (1_u8, (at - self.now).div_ceil(self.grain()))
        } else {
            (0, (self.now - at).min(self.sight.old * clock::SECOND) / self.grain())
        };
        self.same((sign, span));
    }

    /// It is not long ago.
    pub(crate) fn is_young(&self, at: u64) -> bool {
        self.now.saturating_sub(at) < self.sight.old * clock::SECOND
    }

    fn grain(&self) -> u64 {
        self.sight.grain.max(1) * clock::SECOND
    }

    /// A time that does not matter any more once it is past.
    pub(crate) fn due(&mut self, at: u64) {
        self.same(at.saturating_sub(self.now).div_ceil(self.grain()));
    }

    /// A time that may never come.
    pub(crate) fn time_if(&mut self, at: Option<u64>) {
        self.same(at.is_some());
        if let Some(at) = at {
            self.time(at);
        }
    }

    /// An id.
    pub(crate) fn id(&mut self, id: u64) {
        if id < THROWN {
            self.same(id);
        } else {
            self.name(&id.to_string());
        }
    }

    /// An id where there is one.
    pub(crate) fn id_if(&mut self, id: Option<u64>) {
        self.same(id.is_some());
        if let Some(id) = id {
            self.id(id);
        }
    }

    fn name(&mut self, name: &str) {
        let next = self.names.len();
        let number = match self.names.get(name) {
            Some(number) => *number,
            None => *self.names.entry(name.to_owned()).or_insert(next),
        };
        self.same((b'#', number));
    }

    /// A text, in which there may be uids, ids and times.
    pub(crate) fn text(&mut self, text: &str) {
        let mut rest = text;
        // A text without a digit has none of them.
        while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(begin);
            let length = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
            let stamp = stamp(from);
            let (token, after) = from.split_at(stamp.unwrap_or(length));
            self.same(before);
            match token.parse::<Timestamp>() {
                Ok(at) if stamp.is_some() => self.time(clock::millis(at)),
                _ if before.ends_with("uid-") || token.len() > 13 => self.name(token),
                _ => self.same(token),
            }
            rest = after;
        }
        self.same(rest);
    }

    /// JSON, whatever the order of its fields.
    pub(crate) fn json(&mut self, value: &Value) {
        match value {
            Value::Null => self.same(0_u8),
            Value::Bool(value) => self.same((1_u8, value)),
            Value::Number(number) => match number.as_u64() {
                Some(number) => self.id(number),
                None => self.same(number.to_string()),
            },
            Value::String(text) => self.text(text),
            Value::Array(items) => self.each(items, Self::json),
            Value::Object(fields) => {
                let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
                fields.sort_unstable_by_key(|(name, _)| *name);
                self.each(&fields, |to, (name, value)| to.field(name, value));
            }
        }
    }

    fn field(&mut self, name: &str, value: &Value) {
        match name {
            "resourceVersion" => {}
            "restartCount" => self.same(value.as_u64().map(|count| count.min(RESTARTS))),
            _ => {
                self.text(name);
                self.json(value);
            }
        }
    }
}

/// The length of the time with which a text begins, as `2026-01-01T00:00:00Z`; `None` where it begins
/// with something else.
fn stamp(text: &str) -> Option<usize> {
    let is_date = text.get(4..5) == Some("-") && text.get(10..11) == Some("T");
    let end = text.find('Z').filter(|end| is_date && *end < 40)?;
    Some(end + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn likeness(now: u64, value: &Value) -> u64 {
        let mut likeness = Likeness::new(now, Sight::default());
        likeness.json(value);
        likeness.number()
    }

    #[test]
    fn versions_uids_ids_and_the_date_make_no_difference() {
        let object = |uid: &str, version: u64, id: u64, at: u64| {
            json!({
                "metadata": {"uid": uid, "resourceVersion": version.to_string()},
                "owner": uid,
                "note": format!("cluster {id} since {}", clock::rfc3339(at)),
                "member": id,
            })
        };
        let first = likeness(20_000, &object("uid-0007", 3, 7 << 60, 5000));
        let later = likeness(920_000, &object("uid-0123", 400, 5 << 59, 905_000));
        assert_eq!(first, later);
        assert_ne!(first, likeness(950_000, &object("uid-0007", 3, 7 << 60, 905_000)));
    }

    #[test]
    fn who_is_who_makes_a_difference() {
        let pair = |one: &str, other: &str| likeness(0, &json!([one, other, "uid-0001"]));
        assert_eq!(pair("uid-0001", "uid-0002"), likeness(0, &json!(["uid-3", "uid-4", "uid-3"])));
        assert_ne!(pair("uid-0001", "uid-0002"), pair("uid-0002", "uid-0001"));
        assert_ne!(likeness(0, &json!("c-tikv-0")), likeness(0, &json!("c-tikv-1")));
    }

    #[test]
    fn the_order_of_fields_makes_none_and_what_is_old_is_old() {
        assert_eq!(likeness(0, &json!({"a": 1, "b": 2})), likeness(0, &json!({"b": 2, "a": 1})));
        let since = |at: u64| likeness(1_000_000, &json!(clock::rfc3339(at)));
        assert_eq!(since(10_000), since(500_000));
        assert_ne!(since(10_000), since(990_000));
        assert_ne!(since(1_020_000), since(1_200_000), "to come");
    }
}
