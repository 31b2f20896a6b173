//! What do the watches know of tasks and their Jobs?

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::Value;
use tikv_operator_core::{
    task::{JobFacts, RunKey, TASK_LABEL, job_facts},
    world::Uid,
};

use crate::{controller::Key, observe::Scope};

/// All watched tasks and Jobs; clones share them.
#[derive(Clone, Debug, Default)]
pub struct TaskCache {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    tasks: BTreeMap<Key, Arc<Value>>,
    /// By the task that their label names, then by their own name.
    jobs: BTreeMap<Key, BTreeMap<String, Job>>,
    /// How far the watches of tasks are.
    tasks_seen: BTreeMap<Scope, Seen>,
    jobs_listed: BTreeSet<Scope>,
    /// How often it was written: what is in one write, nobody sees a part of.
    #[cfg(test)]
    writes: usize,
}

/// A Job, and the uid of the task that owns it.
#[derive(Clone, Debug)]
struct Job {
    owner: Option<Uid>,
    run: RunKey,
    facts: JobFacts,
}

/// How far a watch of tasks is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// All were listed.
    All,
    /// The kind is not installed: there are none.
    NotInstalled,
    /// They may not be read.
    Forbidden(String),
}

impl TaskCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    fn read<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        {
            inner.writes += 1;
        }
        write(&mut inner)
    }

    /// The task called `key`.
    pub fn task(&self, key: &Key) -> Option<Arc<Value>> {
        self.read(|inner| inner.tasks.get(key).cloned())
    }

    /// All tasks.
    pub fn keys(&self) -> Vec<Key> {
        self.read(|inner| inner.tasks.keys().cloned().collect())
    }

    /// Tasks that may be about this cluster: those that name it, and those that select by labels.
    pub fn about(&self, cluster: &Key) -> Vec<Key> {
        self.read(|inner| {
            let tasks = inner.tasks.iter().filter(|(key, body)| {
                let named = body.pointer("/spec/cluster").and_then(Value::as_str);
                key.namespace == cluster.namespace && named.is_none_or(|name| name == cluster.name)
            });
            tasks.map(|(key, _)| key.clone()).collect()
        })
    }

    /// All tasks of a namespace, as far as they are known; otherwise why they are not.
    pub fn of_namespace(&self, namespace: &str) -> Result<Vec<Arc<Value>>, String> {
        self.read(|inner| {
            let scope = |scope: &Scope| scope.as_ref().is_none_or(|scope| scope == namespace);
            let mut seen = inner.tasks_seen.iter().filter(|(of, _)| scope(of));
            match seen.next().map(|(_, seen)| seen) {
                None => return Err("tasks were not read yet".to_owned()),
                Some(Seen::Forbidden(words)) => return Err(words.clone()),
                Some(Seen::All | Seen::NotInstalled) => {}
            }
            let tasks = inner.tasks.iter().filter(|(key, _)| key.namespace == namespace);
            Ok(tasks.map(|(_, body)| Arc::clone(body)).collect())
        })
    }

    /// The Jobs that a task owns, by the key of their run; `None` until all were listed.
    pub(super) fn jobs(&self, key: &Key, uid: &Uid) -> Option<BTreeMap<RunKey, JobFacts>> {
        self.read(|inner| {
            let scope = |scope: &Scope| scope.as_ref().is_none_or(|s| *s == key.namespace);
            if !inner.jobs_listed.iter().any(scope) {
                return None;
            }
            let jobs = inner.jobs.get(key).into_iter().flatten();
            let own = jobs.filter(|(_, job)| job.owner.as_ref() == Some(uid));
            Some(own.map(|(_, job)| (job.run.clone(), job.facts.clone())).collect())
        })
    }

    /// How far the watch of a scope is.
    pub(super) fn seen(&self, scope: &Scope, seen: Seen) {
        self.write(|inner| {
            if seen != Seen::All {
                let gone = |key: &Key| scope.as_ref().is_none_or(|scope| *scope == key.namespace);
                inner.tasks.retain(|key, _| !gone(key));
            }
            inner.tasks_seen.insert(scope.clone(), seen);
        });
    }

    /// The answer to a read or a write of the task with this uid: so it is, or it is gone. Only the watch makes
    /// a task known. It may have told of the end of this one already, and would not do so again.
    pub(super) fn answered_task(&self, key: &Key, uid: &Uid, body: Option<Value>) {
        let uid_of = |body: &Value| {
            body.pointer("/metadata/uid").and_then(Value::as_str) == Some(uid.0.as_str())
        };
        self.write(|inner| {
            let Some(known) = inner.tasks.get(key).filter(|known| uid_of(known)) else { return };
            match body.filter(uid_of) {
                Some(body) if is_older(&body, known) => {}
                Some(body) => drop(inner.tasks.insert(key.clone(), Arc::new(body))),
                None => drop(inner.tasks.remove(key)),
            }
        });
    }

    /// A task is so now, or gone, as the watch tells. Returns it.
    pub(super) fn set_task(&self, body: Value, gone: bool) -> Option<Key> {
        let key = own_key(&body)?;
        self.write(|inner| {
            if gone {
                inner.tasks.remove(&key);
            } else if inner.tasks.get(&key).is_none_or(|known| !is_older(&body, known)) {
                inner.tasks.insert(key.clone(), Arc::new(body));
            }
        });
        Some(key)
    }

    /// These are all tasks of a scope. Returns them.
    pub(super) fn all_tasks(&self, scope: &Scope, bodies: Vec<Value>) -> Vec<Key> {
        let keyed = bodies.into_iter().filter_map(|body| Some((own_key(&body)?, body)));
        let bodies: BTreeMap<Key, Value> = keyed.collect();
        let keys = bodies.keys().cloned().collect();
        // In one step: nobody may see a namespace without its tasks.
        self.write(|inner| {
            let other = |key: &Key| scope.as_ref().is_some_and(|s| *s != key.namespace);
            inner.tasks.retain(|key, _| other(key) || bodies.contains_key(key));
            for (key, body) in bodies {
                if inner.tasks.get(&key).is_none_or(|known| !is_older(&body, known)) {
                    inner.tasks.insert(key, Arc::new(body));
                }
            }
            inner.tasks_seen.insert(scope.clone(), Seen::All);
        });
        keys
    }

    /// A Job is so now, or gone. Returns its task.
    pub(super) fn set_job(&self, body: &Value, gone: bool) -> Option<Key> {
        let own = own_key(body)?;
        let label = body.pointer("/metadata/labels")?.get(TASK_LABEL)?.as_str()?.to_owned();
        let task = Key { namespace: own.namespace, name: label };
        let job = job_facts(body).map(|(run, facts)| Job { owner: owner(body), run, facts });
        self.write(|inner| {
            let jobs = inner.jobs.entry(task.clone()).or_default();
            match job.filter(|_| !gone) {
                Some(job) => drop(jobs.insert(own.name, job)),
                None => drop(jobs.remove(&own.name)),
            }
            if jobs.is_empty() {
                inner.jobs.remove(&task);
            }
        });
        Some(task)
    }

    /// These are all Jobs of a scope. Returns their tasks, and those whose Jobs are gone.
    pub(super) fn all_jobs(&self, scope: &Scope, bodies: &[Value]) -> BTreeSet<Key> {
        let in_scope = |key: &Key| scope.as_ref().is_none_or(|scope| *scope == key.namespace);
        let mut touched: BTreeSet<Key> = self.write(|inner| {
            let old: BTreeSet<Key> =
                inner.jobs.keys().filter(|key| in_scope(key)).cloned().collect();
            inner.jobs.retain(|key, _| !in_scope(key));
            old
        });
        touched.extend(bodies.iter().filter_map(|body| self.set_job(body, false)));
        self.write(|inner| inner.jobs_listed.insert(scope.clone()));
        touched
    }
}

/// Is the first an earlier version of the second? What a pass has written is known before the watch
/// tells of it, and the watch may tell of earlier ones meanwhile.
fn is_older(body: &Value, known: &Value) -> bool {
    let at =
        |body: &Value, pointer| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let version = |body| at(body, "/metadata/resourceVersion")?.parse::<u128>().ok();
    let same = at(body, "/metadata/uid") == at(known, "/metadata/uid");
    same && version(body).zip(version(known)).is_some_and(|(body, known)| body < known)
}

fn own_key(body: &Value) -> Option<Key> {
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Some(Key { namespace: text("/metadata/namespace")?, name: text("/metadata/name")? })
}

fn owner(body: &Value) -> Option<Uid> {
    let owners = body.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
    controller?.get("uid").and_then(Value::as_str).map(|uid| Uid(uid.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".into(), name: name.into() }
    }

    fn job(name: &str, task: &str, owner: &str) -> Value {
        json!({"metadata": {
            "name": name, "namespace": "ns", "uid": name,
            "labels": {"tikv.org/task": task, "tikv.org/task-run": format!("run-of-{name}")},
            "ownerReferences": [{"uid": owner, "controller": true}],
        }})
    }

    #[test]
    fn what_was_not_read_is_not_known_to_be_none() {
        let cache = TaskCache::new();
        assert!(cache.of_namespace("ns").is_err());
        assert_eq!(cache.jobs(&key("t"), &Uid("u".into())), None);
        cache.seen(&None, Seen::Forbidden("no".into()));
        assert_eq!(cache.of_namespace("ns").map(|tasks| tasks.len()), Err("no".to_owned()));
        cache.seen(&None, Seen::NotInstalled);
        assert_eq!(cache.of_namespace("ns").map(|tasks| tasks.len()), Ok(0));
        let body = json!({"metadata": {"name": "t", "namespace": "ns"}});
        assert_eq!(cache.all_tasks(&None, vec![body]), [key("t")]);
        assert_eq!(cache.of_namespace("ns").map(|tasks| tasks.len()), Ok(1));
        assert_eq!(cache.of_namespace("other").map(|tasks| tasks.len()), Ok(0));
        let other = Some("other".to_owned());
        cache.all_tasks(&other, Vec::new());
        assert_eq!(cache.keys(), [key("t")], "another scope's");
        cache.all_tasks(&None, Vec::new());
        assert!(cache.keys().is_empty());
    }

    /// A relist is no moment without tasks: an upgrade that begins in it would miss its gate.
    #[test]
    fn a_list_anew_hides_no_task() {
        let cache = TaskCache::new();
        let bodies = || -> Vec<Value> {
            let names =
                (0..200).map(|n| json!({"metadata": {"name": n.to_string(), "namespace": "ns"}}));
            names.collect()
        };
        cache.all_tasks(&None, bodies());
        // Threads that read meanwhile would hit the gap between two writes once in a thousand lists.
        let writes = |cache: &TaskCache| cache.read(|inner| inner.writes);
        let before = writes(&cache);
        cache.all_tasks(&None, bodies());
        assert_eq!((writes(&cache) - before, cache.keys().len()), (1, 200));
    }

    #[test]
    fn a_cluster_wakes_the_tasks_that_may_be_about_it() {
        let cache = TaskCache::new();
        let task = |name: &str, namespace: &str, cluster: Value| {
            let metadata = json!({"name": name, "namespace": namespace});
            json!({"metadata": metadata, "spec": {"cluster": cluster}})
        };
        let bodies = vec![
            task("its", "ns", json!("c")),
            task("another", "ns", json!("d")),
            task("selects", "ns", json!(null)),
            task("elsewhere", "other", json!("c")),
        ];
        cache.all_tasks(&None, bodies);
        assert_eq!(cache.about(&key("c")), [key("its"), key("selects")]);
    }

    #[test]
    fn a_task_sees_the_jobs_that_it_owns_itself() {
        let cache = TaskCache::new();
        let uid = Uid("u".into());
        cache.all_jobs(&None, &[job("a", "t", "u"), job("b", "t", "of-an-earlier-one")]);
        let runs = |cache: &TaskCache| {
            let jobs = cache.jobs(&key("t"), &uid).expect("listed");
            jobs.into_keys().map(|key| key.0).collect::<Vec<_>>()
        };
        assert_eq!(runs(&cache), ["run-of-a"]);
        assert_eq!(cache.set_job(&job("c", "t", "u"), false), Some(key("t")));
        assert_eq!(runs(&cache), ["run-of-a", "run-of-c"]);
        cache.set_job(&job("a", "t", "u"), true);
        assert_eq!(runs(&cache), ["run-of-c"]);
        assert!(cache.all_jobs(&None, &[]).contains(&key("t")), "woken by what is gone");
        assert!(runs(&cache).is_empty());
        assert_eq!(
            cache.set_job(&json!({"metadata": {"name": "x", "namespace": "ns"}}), false),
            None
        );
    }

    /// Its gate would hold upgrades for ever: no watch tells of a task that is gone a second time.
    #[test]
    fn an_answer_brings_back_no_task_that_the_watch_knows_to_be_gone() {
        let cache = TaskCache::new();
        let body = |uid: &str, version: u32| {
            json!({"metadata": {
                "name": "t", "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
            }})
        };
        let u = Uid("u".into());
        let known = |cache: &TaskCache| {
            let task = cache.task(&key("t"))?;
            Some(task["metadata"]["resourceVersion"].as_str()?.to_owned())
        };
        cache.set_task(body("u", 5), false);
        cache.set_task(body("u", 5), true);
        cache.answered_task(&key("t"), &u, Some(body("u", 6)));
        assert_eq!(known(&cache), None);
        cache.set_task(body("another", 9), false);
        cache.answered_task(&key("t"), &u, Some(body("u", 6)));
        cache.answered_task(&key("t"), &u, None);
        assert_eq!(known(&cache).as_deref(), Some("9"), "another of the name");
        let another = Uid("another".into());
        cache.answered_task(&key("t"), &another, Some(body("another", 8)));
        assert_eq!(known(&cache).as_deref(), Some("9"), "an earlier answer");
        cache.answered_task(&key("t"), &another, Some(body("another", 10)));
        assert_eq!(known(&cache).as_deref(), Some("10"));
        cache.answered_task(&key("t"), &another, None);
        assert_eq!(known(&cache), None);
    }
}
