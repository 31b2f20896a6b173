//! What does a watch cache know, and how late?

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Kube, Object, Objects};

/// A copy of the store that follows it, each kind by its own watch and so with its own delay.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    pub(super) objects: Objects,
    /// How many changes each kind's watch has seen, counted over all kinds.
    seen: BTreeMap<String, usize>,
}

impl Cache {
    /// Lets the watches of these kinds catch up with the first so many changes of the store each. A
    /// watch never goes back, so an earlier version changes nothing.
    pub fn follow(&mut self, kube: &Kube, watches: &[(&str, usize)]) {
        let end = kube.version();
        let mut from = end;
        for (kind, until) in watches {
            let seen = self.seen.get(*kind).copied().unwrap_or_default();
            // A watch that has missed what is not told any more begins with a list.
            if seen < kube.forgotten && *until > seen {
                let (listed, version) = match &kube.base {
                    Some(base) if *until >= kube.forgotten => (base, kube.forgotten),
                    Some(_) | None => (&kube.objects, end),
                };
                let listed = listed.get(*kind).cloned().unwrap_or_default();
                self.objects.insert((*kind).to_owned(), listed);
                self.seen.insert((*kind).to_owned(), version);
                from = from.min(version);
            } else {
                from = from.min(seen);
            }
        }
        let told = kube.changes.iter().enumerate().map(|(n, change)| (kube.forgotten + n, change));
        for (number, change) in told.skip(from.saturating_sub(kube.forgotten)) {
            let watch = watches.iter().find(|(kind, _)| *kind == change.key.kind);
            let Some((kind, until)) = watch else { continue };
            let seen = self.seen.get(*kind).copied().unwrap_or_default();
            if number < seen || number >= *until {
                continue;
            }
            let objects = match self.objects.get_mut(*kind) {
                Some(objects) => objects,
                None => self.objects.entry((*kind).to_owned()).or_default(),
            };
            match &change.object {
                Some(object) => objects.insert(change.key.name.clone(), Arc::clone(object)),
                None => objects.remove(&change.key.name),
            };
        }
        for (kind, until) in watches {
            let until = (*until).min(end);
            match self.seen.get_mut(*kind) {
                Some(seen) => *seen = until.max(*seen),
                None => {
                    self.seen.insert((*kind).to_owned(), until);
                }
            }
        }
    }

    /// It has everything that the store has, of the kinds that it watches.
    pub fn is_current(&self, kube: &Kube) -> bool {
        self.seen.values().all(|seen| *seen == kube.version())
    }

    /// The first so many changes have been seen by every watch.
    pub fn seen(&self) -> usize {
        self.seen.values().copied().min().unwrap_or_default()
    }

    /// The object as the cache has it.
    pub fn get(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects.get(kind)?.get(name).map(Arc::as_ref)
    }

    /// All objects of a kind, by name.
    pub fn list(&self, kind: &str) -> impl Iterator<Item = &Arc<Object>> + use<'_> {
        self.objects.get(kind).into_iter().flat_map(BTreeMap::values)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kube::Key;

    #[test]
    fn each_kind_lags_by_itself() {
        let mut kube = Kube::default();
        kube.create(json!({"kind": "Pod", "metadata": {"name": "a"}})).unwrap();
        kube.create(json!({"kind": "ConfigMap", "metadata": {"name": "b"}})).unwrap();
        let mut cache = Cache::default();
        cache.follow(&kube, &[("Pod", 2), ("ConfigMap", 1)]);
        assert!(cache.get("Pod", "a").is_some());
        assert!(cache.get("ConfigMap", "b").is_none());
        kube.delete(&Key::new("Pod", "a"), None).unwrap();
        cache.follow(&kube, &[("Pod", 1)]);
        assert!(cache.get("Pod", "a").is_some(), "a watch never goes back, nor ahead of time");
        cache.follow(&kube, &[("Pod", kube.version())]);
        assert!(cache.get("Pod", "a").is_none());
    }

    #[test]
    fn who_begins_after_a_trim_sees_everything_as_it_came_to_be() {
        let mut kube = Kube::default();
        for name in ["a", "b"] {
            kube.create(json!({"kind": "Pod", "metadata": {"name": name}})).unwrap();
        }
        kube.delete(&Key::new("Pod", "a"), None).unwrap();
        kube.create(json!({"kind": "Pod", "metadata": {"name": "c"}})).unwrap();
        let whole = kube.clone();
        kube.trim(2);
        assert_eq!((kube.version(), kube.told()), (4, 2));
        for until in 2..=4 {
            let names = |kube: &Kube| {
                let mut cache = Cache::default();
                cache.follow(kube, &[("Pod", until)]);
                assert_eq!(cache.seen(), until);
                let names = cache.list("Pod").map(|pod| pod.name().to_owned());
                names.collect::<Vec<_>>()
            };
            assert_eq!(names(&kube), names(&whole), "{until}");
        }
    }

    #[test]
    fn who_has_missed_what_is_forgotten_lists() {
        let mut kube = Kube::default();
        for name in ["a", "b"] {
            kube.create(json!({"kind": "Pod", "metadata": {"name": name}})).unwrap();
        }
        let (mut early, mut late) = (Cache::default(), Cache::default());
        early.follow(&kube, &[("Pod", 2)]);
        kube.delete(&Key::new("Pod", "a"), None).unwrap();
        kube.forget(2);
        assert_eq!(kube.version(), 3);
        for cache in [&mut early, &mut late] {
            cache.follow(&kube, &[("Pod", 3)]);
            assert!(cache.is_current(&kube) && cache.get("Pod", "a").is_none());
            assert!(cache.get("Pod", "b").is_some());
        }
    }
}
