//! Which specs are in force: of tasks, and of the clusters that they are about?
//!
//! Tasks see what the clusters' loop goes by: the checked spec, and the last valid one while the present
//! one is refused. An edit that comes to nothing is no event, and nothing is counted from its numbers.
//! Both are checked once for each generation: most passes are about specs that did not change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde_json::Value;
use tikv_operator_core::{
    check::Rejection,
    cluster::Cluster,
    facts::resource_facts,
    task::{Task, check_task},
};

use crate::{act::FINALIZER, controller::Key, observe::LastCheck};

/// The last checks of all clusters.
#[derive(Debug, Default)]
pub(super) struct Specs {
    known: Mutex<BTreeMap<Key, LastCheck>>,
}

impl Specs {
    /// The spec of this resource that is in force; `None` where none was ever valid, as far as this
    /// process goes back.
    pub(super) fn in_force(&self, key: &Key, resource: &Value) -> Option<Cluster> {
        let facts = resource_facts(resource, FINALIZER)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let check = known.entry(key.clone()).or_default();
        check.of(resource, &facts).ok().or_else(|| check.kept(resource, &facts))
    }

    /// Forgets those that are not among these.
    pub(super) fn keep(&self, is_there: impl Fn(&Key) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| is_there(key));
    }
}

/// The last checks of all tasks.
#[derive(Debug, Default)]
pub(super) struct Checks {
    known: Mutex<BTreeMap<Key, Checked>>,
}

#[derive(Debug)]
struct Checked {
    /// Uid and generation: the API server counts the latter up with every change of the spec.
    version: (Option<Value>, Option<Value>),
    answer: Result<Arc<Task>, Rejection>,
}

impl Checks {
    /// The task as this body says it.
    pub(super) fn of(&self, key: &Key, body: &Value) -> Result<Arc<Task>, Rejection> {
        let part = |pointer| body.pointer(pointer).cloned();
        let version = (part("/metadata/uid"), part("/metadata/generation"));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(checked) = known.get(key).filter(|checked| checked.version == version) {
            return checked.answer.clone();
        }
        let answer = check_task(body, Timestamp::now()).map(Arc::new);
        known.insert(key.clone(), Checked { version, answer: answer.clone() });
        answer
    }

    /// There is no such task any more.
    pub(super) fn forget(&self, key: &Key) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edit_that_is_refused_changes_nothing() {
        let specs = Specs::default();
        let key = Key { namespace: "ns".into(), name: "c".into() };
        let stores = |generation: i64, replicas: Value| {
            let resource = json!({
                "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
                "metadata": {"name": "c", "namespace": "ns", "uid": "u", "generation": generation},
                "spec": {"version": "v8.5.7", "tikv": {"replicas": replicas}},
            });
            specs.in_force(&key, &resource).map(|cluster| cluster.tikv.replicas)
        };
        assert_eq!(stores(1, json!("many")), None);
        assert_eq!(stores(2, json!(4)), Some(4));
        assert_eq!(stores(3, json!("many")), Some(4));
        specs.keep(|_| false);
        assert_eq!(stores(3, json!("many")), None);
    }

    #[test]
    fn a_task_is_checked_once_for_each_generation() {
        let checks = Checks::default();
        let key = Key { namespace: "ns".into(), name: "t".into() };
        let check = |uid: &str, generation: i64| {
            let body = json!({
                "metadata": {
                    "name": "t", "namespace": "ns", "uid": uid, "generation": generation,
                },
                "spec": tikv_operator_api::cases::task_spec(),
            });
            checks.of(&key, &body).unwrap()
        };
        let first = check("u", 1);
        assert!(Arc::ptr_eq(&first, &check("u", 1)));
        assert!(!Arc::ptr_eq(&first, &check("u", 2)), "edited");
        let second = check("u", 2);
        assert!(!Arc::ptr_eq(&second, &check("another", 2)), "another of the name");
        checks.forget(&key);
        assert!(!Arc::ptr_eq(&second, &check("u", 2)));
    }
}
