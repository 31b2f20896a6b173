//! What does a watch cache know, and how late?

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Key, Kube};

/// A copy of the store that follows it, each kind by its own watch and so with its own delay.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    objects: BTreeMap<Key, Arc<Value>>,
    /// How many changes each kind's watch has seen, counted over all kinds.
    seen: BTreeMap<String, usize>,
}

impl Cache {
    /// Lets the watch of `kind` catch up with the first `version` changes of the store. A watch
    /// never goes back, so an earlier version changes nothing.
    pub fn follow(&mut self, kube: &Kube, kind: &str, version: usize) {
        let seen = self.seen.entry(kind.to_owned()).or_default();
        let until = version.min(kube.changes.len());
        for change in kube.changes.get(*seen..until).unwrap_or_default() {
            if change.key.kind != kind {
                continue;
            }
            match &change.object {
                Some(object) => {
                    self.objects.insert(change.key.clone(), Arc::clone(object));
                }
                None => {
                    self.objects.remove(&change.key);
                }
            }
        }
        *seen = until.max(*seen);
    }

    /// The object as the cache has it.
    pub fn get(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Key::new(kind, name)).map(Arc::as_ref)
    }

    /// All objects of a kind, by name.
    pub fn list<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |(key, _)| key.kind == kind).map(|(_, o)| o.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_lags_by_itself() {
        let mut kube = Kube::default();
        kube.create(json!({"kind": "Pod", "metadata": {"name": "a"}})).unwrap();
        kube.create(json!({"kind": "ConfigMap", "metadata": {"name": "b"}})).unwrap();
        let mut cache = Cache::default();
        cache.follow(&kube, "Pod", 2);
        cache.follow(&kube, "ConfigMap", 1);
        assert!(cache.get("Pod", "a").is_some());
        assert!(cache.get("ConfigMap", "b").is_none());
        kube.delete(&Key::new("Pod", "a"), None).unwrap();
        cache.follow(&kube, "Pod", 1);
        assert!(cache.get("Pod", "a").is_some(), "a watch never goes back, nor ahead of time");
        cache.follow(&kube, "Pod", kube.version());
        assert!(cache.get("Pod", "a").is_none());
    }
}
