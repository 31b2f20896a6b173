//! Which schedulers run, which are paused, and whose leaders are to leave? One evict-leader
//! scheduler holds all stores, and vanishes with the last one; all of it survives a restart.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::shown::extend;
use crate::version::{Feature, Version};

/// The scheduler that moves leaders away from stores.
pub const EVICT_LEADER: &str = "evict-leader-scheduler";
/// Moves leaders from stores with many to stores with few.
pub const BALANCE_LEADER: &str = "balance-leader-scheduler";
/// Moves peers from stores with many to stores with few.
pub const BALANCE_REGION: &str = "balance-region-scheduler";

/// Moves leaders away from the one store that says in its heartbeats that it is stopping.
pub const EVICT_STOPPING: &str = "evict-stopping-store-scheduler";

/// Two that do nothing here but be listed.
const HOT_REGION: &str = "balance-hot-region-scheduler";
const SLOW_STORE: &str = "evict-slow-store-scheduler";

/// Leaders moved from one store at a time.
pub const BATCH: usize = 3;

/// The schedulers of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Schedulers {
    running: BTreeSet<String>,
    evicting: BTreeSet<u64>,
    /// The stopping store whose leaders are to leave.
    stopping: Option<u64>,
}

impl Schedulers {
    /// Those of a new cluster.
    pub fn of_version(version: Version) -> Self {
        let younger =
            [(SLOW_STORE, Feature::SLOW_STORES), (EVICT_STOPPING, Feature::LOCAL_ANSWERS)];
        let younger = younger.into_iter().filter(|(_, feature)| version.has(*feature));
        let names =
            younger.map(|(name, _)| name).chain([BALANCE_LEADER, BALANCE_REGION, HOT_REGION]);
        let running = names.map(str::to_owned).collect();
        Self { running, evicting: BTreeSet::new(), stopping: None }
    }

    /// Names of all.
    pub fn names(&self) -> Vec<&str> {
        let evict = (!self.evicting.is_empty()).then_some(EVICT_LEADER);
        self.running.iter().map(String::as_str).chain(evict).collect()
    }

    /// Whether a scheduler runs.
    pub fn is_active(&self, name: &str) -> bool {
        self.running.contains(name)
    }

    /// Stores whose leaders are to leave.
    pub fn evicting(&self) -> BTreeSet<u64> {
        self.evicting.iter().chain(&self.stopping).copied().collect()
    }

    /// Whether no leader may be moved to this store.
    pub fn refuses_leaders(&self, store: u64) -> bool {
        self.evicting.contains(&store) || self.stopping == Some(store)
    }

    /// Takes over which stores say that they are stopping: the one taken before for as long as it
    /// says so, else the only one. Of several that stop together PD takes none, and while one is
    /// taken it looks at no other.
    pub fn take_stopping(&mut self, stores: &[u64]) {
        if self.stopping.is_some_and(|taken| stores.contains(&taken)) {
            return;
        }
        self.stopping = match stores {
            [only] if self.is_active(EVICT_STOPPING) => Some(*only),
            _ => None,
        };
    }

    /// POST `/schedulers`; `store_exists` answers for PD's stores.
    pub fn add(
        &mut self,
        body: &Map<String, Value>,
        store_exists: impl Fn(u64) -> bool,
    ) -> Result<&'static str, Refusal> {
        let name = body.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| Refusal::bad("missing scheduler name"))?;
        if name != EVICT_LEADER {
            return Err(Refusal::bad("this stand-in for PD adds no other scheduler"));
        }
        let store = body.get("store_id").and_then(Value::as_u64);
        let store = store.ok_or_else(|| Refusal::bad("missing store id"))?;
        if !store_exists(store) {
            let words = format!("[PD:core:ErrStoreNotFound]store {store} not found");
            // What the scheduler itself answers the real one quotes once more.
            let quoted = !self.evicting.is_empty();
            return Err(Refusal::internal(if quoted { format!("{words:?}\n") } else { words }));
        }
        let first = self.evicting.is_empty();
        self.evicting.insert(store);
        Ok(if first {
            "The scheduler is created."
        } else {
            "The scheduler has been applied to the store."
        })
    }

    /// DELETE `/schedulers/{name}`; `evict-leader-scheduler-N` takes one store out, the bare name
    /// all of them. `false` when there was nothing to delete.
    pub fn delete(&mut self, name: &str) -> bool {
        if name == EVICT_LEADER {
            let any = !self.evicting.is_empty();
            self.evicting.clear();
            return any;
        }
        if let Some(store) = name.strip_prefix("evict-leader-scheduler-") {
            return store.parse().is_ok_and(|store| self.stop_evicting(store));
        }
        if name == EVICT_STOPPING {
            self.stopping = None;
        }
        self.running.remove(name)
    }

    /// Takes one store out of evict-leader; `false` when it was not in.
    pub fn stop_evicting(&mut self, store: u64) -> bool {
        self.evicting.remove(&store)
    }

    /// GET `/scheduler-config/evict-leader-scheduler/list`; `None` while nothing is evicted.
    pub fn show_evictions(&self, version: Version) -> Option<Value> {
        let range = json!([{"end-key": "", "start-key": ""}]);
        let ranges = self.evicting.iter().map(|id| (id.to_string(), range.clone()));
        let ranges: Map<String, Value> = ranges.collect();
        let mut list = json!({"store-id-ranges": ranges});
        if version.has(Feature::BATCH) {
            extend(&mut list, json!({"batch": BATCH}));
        }
        (!ranges.is_empty()).then_some(list)
    }
}
