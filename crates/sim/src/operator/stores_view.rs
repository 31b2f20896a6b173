//! What does the operator learn about stores: from PD's lists and from the stores themselves?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tikv_operator_core::world::{
    PdFacts, PdView, StoreFacts, StoreId, StoreProcess, StoreState, World,
};

use super::{Operator, StoreConfig};
use crate::clock::SECOND;
use crate::kube::at;
use crate::names::OPERATOR;
use crate::tikv;
use crate::universe::Universe;

/// A store's configuration is read again after this time: others may change it too.
const CONFIG_TIME: u64 = 300 * SECOND;

impl Operator {
    /// What stores say of themselves at their status port, those alone whose word decides
    /// something: how many leaders are left where they are to leave, and the configuration where
    /// the resource asks for settings, once per process and then every five minutes.
    pub(super) fn ask_stores(
        &mut self,
        world: &World,
        resource: &Value,
        universe: &Universe,
    ) -> BTreeMap<StoreId, StoreProcess> {
        let PdView::Known(pd) = &world.pd else { return BTreeMap::new() };
        let silent = self.dice.chance(self.faults.pd_silent);
        let (emptied, configured) = (emptied(world, pd), is_configured(resource));
        let mut processes = BTreeMap::new();
        for store in pd.live_stores() {
            let known = if configured { self.known_config(store, universe.now) } else { None };
            let asks = configured && known.is_none() && store.state == StoreState::Up;
            let leaves = emptied.contains(&store.id);
            let mut said = StoreProcess { leaders: None, config: known };
            if !silent && (asks || leaves) && runs(world, store.id) {
                let names = universe.names();
                let behind = names.resolve(&store.status_address).iter();
                let mut behind = behind.filter(|process| names.connects(OPERATOR, process));
                if let Some(answer) = behind.find_map(|process| universe.store_process(process)) {
                    said.leaders = if leaves { tikv::leaders(&answer.metrics()) } else { None };
                    if asks {
                        let config = Arc::clone(&answer.config);
                        let (started, read) = (store.started, universe.now);
                        let known = StoreConfig { started, read, config };
                        self.memory.store_configs.insert(store.id, known);
                        said.config = Some(answer.config);
                    }
                }
            }
            if said.leaders.is_some() || said.config.is_some() {
                processes.insert(store.id, said);
            }
        }
        processes
    }

    fn known_config(&self, store: &StoreFacts, now: u64) -> Option<Arc<Value>> {
        let known = self.memory.store_configs.get(&store.id)?;
        let fresh = known.started == store.started && now - known.read < CONFIG_TIME;
        fresh.then(|| Arc::clone(&known.config))
    }
}

/// Stores in the evict-leader scheduler, and those whose claim says that they are to be.
fn emptied(world: &World, pd: &PdFacts) -> BTreeSet<StoreId> {
    let marked = world.volumes.values().filter(|volume| {
        volume.main && (volume.marks.evicting.is_some() || volume.marks.leaving.is_some())
    });
    let marked = marked.filter_map(|volume| volume.marks.store);
    pd.evicting.iter().copied().chain(marked).collect()
}

/// The pod of a store runs, as far as its volume says which pod that is.
fn runs(world: &World, store: StoreId) -> bool {
    let mut volumes = world.volumes.values().filter(|volume| volume.main);
    let volume = volumes.find(|volume| volume.marks.store == Some(store));
    volume.is_none_or(|v| world.pods.get(&v.slot).is_some_and(|pod| pod.containers_ready))
}

/// Does the resource ask for settings of TiKV?
fn is_configured(resource: &Value) -> bool {
    match at(resource, "/spec/tikv/config") {
        Value::Object(map) => !map.is_empty(),
        Value::String(toml) => !toml.trim().is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}
