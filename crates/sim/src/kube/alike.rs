//! What of the API server decides what happens next?

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cache, Key, Kube, Object};
use crate::search::{Alike, Likeness};

impl Alike for Key {
    fn tell(&self, to: &mut Likeness) {
        to.same(self);
    }
}

impl Alike for Object {
    fn tell(&self, to: &mut Likeness) {
        to.json(self.body());
    }
}

impl Alike for Kube {
    fn tell(&self, to: &mut Likeness) {
        let Self {
            objects,
            // Who has seen how many of them tells by himself whether that is all.
            changes: _,
            forgotten: _,
            base: _,
            applied,
            rigid_classes,
            full_claims,
            quota,
            webhooks,
            denied,
            uids: _,
            swept: _,
            now: _,
        } = self;
        for (kind, objects) in objects {
            to.same((kind, objects.len()));
            for (name, object) in objects {
                to.same(name);
                object.tell(to);
            }
        }
        to.same(self.is_swept());
        // In the order of objects: the uids have been met in it, and are of no order themselves.
        for (_, _, object) in self.all() {
            for part in [super::Subresource::Main, super::Subresource::Status] {
                let applied = applied.get(&(object.uid().to_owned(), part));
                to.same(applied.is_some());
                if let Some(applied) = applied {
                    to.json(applied);
                }
            }
        }
        to.same((rigid_classes, full_claims, quota, denied));
        to.each(webhooks, |to, (kind, place, value)| {
            to.same((kind, place));
            to.json(value);
        });
    }
}

impl Cache {
    /// What it has of each kind that is not as the store has it.
    pub(crate) fn tell(&self, kube: &Kube, to: &mut Likeness) {
        for (kind, objects) in &self.objects {
            let current = kube.objects.get(kind).is_some_and(|there| are_the_same(there, objects));
            to.same((kind, current));
            for (name, object) in objects.iter().filter(|_| !current) {
                to.same(name);
                object.tell(to);
            }
        }
    }
}

/// The same versions under the same names.
fn are_the_same(
    one: &BTreeMap<String, Arc<Object>>,
    other: &BTreeMap<String, Arc<Object>>,
) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len()
        && pairs.all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(one.1, other.1))
}
