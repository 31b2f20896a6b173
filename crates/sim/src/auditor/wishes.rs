//! Is what the spec asks for in force, once nothing moves any more?
//!
//! What a server refuses is not counted against the operator, and the server itself is asked: what
//! the operator says of a refusal is not believed.

use std::collections::BTreeMap;

use serde_json::Value;
use tikv_operator_core::cluster::Version;
use tikv_operator_core::facts::bytes;
use tikv_operator_core::settings;
use tikv_operator_core::world::Component;

use super::removal::{belongs, note};
use super::truth::setting;
use super::{Auditor, condition};
use crate::kube::{Object, at, is_deleting, name_of, text};
use crate::pd::{Ensemble, StoreState};
use crate::tikv::{self, Process};
use crate::universe::Universe;

const SETTINGS: &str = "at rest stores run with the settings of the spec";
const SIZES: &str = "at rest volumes are as large as the spec asks";

impl Auditor {
    /// A user changed a setting in a store's process, which is known by its start.
    pub fn users_setting(&mut self, cluster: &str, (store, started): (u64, u64), item: &str) {
        self.users_settings.insert((cluster.to_owned(), store, started, item.to_owned()));
    }

    /// Of a cluster that works and whose spec is acted on.
    pub(super) fn judge_wishes(&mut self, universe: &Universe, cluster: &str) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let is = |kind: &str| condition(resource, kind) == Some("True");
        if !is("Ready") || is("Paused") || is_deleting(resource) || is_rejected(resource) {
            return;
        }
        self.judge_live_settings(universe, cluster);
        self.judge_sizes(universe, cluster);
    }

    /// Every store has each item of the spec that is documented to change online and that it would
    /// take now, but for what somebody changed in this very process.
    fn judge_live_settings(&mut self, universe: &Universe, cluster: &str) {
        let wanted = items(setting(universe, cluster, "tikv", "/config"));
        let index = universe.cluster_of(cluster);
        let ensemble = index.and_then(|index| universe.pd.ensembles.get(index));
        let Some(ensemble) = ensemble.filter(|_| !wanted.is_empty()) else { return };
        for (store, started, process) in running(universe, ensemble) {
            let (config, version) = (&*process.config, Version::parse(&process.version));
            let is_online = |item: &str| settings::is_online(Component::Tikv, &version, item);
            for (item, value) in wanted.iter().filter(|(item, _)| is_online(item)) {
                let by = (cluster.to_owned(), store, started, item.clone());
                let live = at(config, &format!("/{}", item.replace('.', "/")));
                let takes = || {
                    let item = [(item.clone(), value.clone())].into();
                    tikv::change(&mut config.clone(), &item).is_ok()
                };
                if live != value && takes() && !self.users_settings.contains(&by) {
                    let what = format!("{cluster}: store {store} has {item} {live}, not {value}");
                    self.find(SETTINGS, what);
                }
            }
        }
    }

    /// Every claim in use asks for what the spec asks, and has what it asks for.
    fn judge_sizes(&mut self, universe: &Universe, cluster: &str) {
        for claim in universe.kube.list("PersistentVolumeClaim") {
            let in_use = belongs(claim, cluster) && !is_deleting(claim);
            let bound = text(claim, "/status/phase") == "Bound";
            if !in_use
                || !bound
                || !note(claim, "retired").is_empty()
                || cannot_grow(universe, claim)
            {
                continue;
            }
            let asked = text(claim, "/spec/resources/requests/storage");
            let has = text(claim, "/status/capacity/storage");
            let wanted = wanted_size(universe, cluster, name_of(claim)).unwrap_or(asked);
            if bytes(asked) < bytes(wanted) || bytes(has) < bytes(asked) {
                let what = format!("{}: has {has}, asks for {asked}, not {wanted}", name_of(claim));
                self.find(SIZES, what);
            }
        }
    }
}

/// The spec is not valid, and which one is in force instead is not known.
pub(super) fn is_unknown(universe: &Universe, resource: &Object) -> bool {
    is_rejected(resource) && !universe.in_force.contains_key(name_of(resource))
}

/// The spec is not valid: an earlier one may be in force.
pub(super) fn is_rejected(resource: &Object) -> bool {
    let mut conditions = at(resource, "/status/conditions").as_array().into_iter().flatten();
    conditions.any(|condition| text(condition, "/reason") == "InvalidSpec")
}

/// Stores that are Up: id, start and process.
fn running<'a>(
    universe: &'a Universe,
    ensemble: &'a Ensemble,
) -> impl Iterator<Item = (u64, u64, &'a Process)> {
    let stores = ensemble.cluster.stores.values().filter(|store| store.state == StoreState::Up);
    stores.filter_map(|store| {
        let uid = universe.tikv.process_of(ensemble.cluster_id, store.id)?;
        Some((store.id, store.started, universe.tikv.processes.get(uid)?))
    })
}

/// The API server would refuse to let the claim grow.
fn cannot_grow(universe: &Universe, claim: &Object) -> bool {
    universe.kube.full_claims.contains(name_of(claim))
        || universe.kube.rigid_classes.contains(text(claim, "/spec/storageClassName"))
}

/// The size that the spec names for a claim: `tikv-c-tikv-0`, or `tikv-wal-c-tikv-0` of a further
/// volume.
fn wanted_size<'a>(universe: &'a Universe, cluster: &str, claim: &str) -> Option<&'a str> {
    let (component, rest) = claim.split_once('-')?;
    let (rest, _ordinal) = rest.rsplit_once('-')?;
    let own = format!("{cluster}-{component}");
    if rest == own {
        return setting(universe, cluster, component, "/requests/storage").as_str();
    }
    let name = rest.strip_suffix(&own)?.strip_suffix('-')?;
    let volumes = setting(universe, cluster, component, "/storageVolumes").as_array();
    let mut volumes = volumes.into_iter().flatten();
    let volume = volumes.find(|volume| text(volume, "/name") == name)?;
    at(volume, "/storageSize").as_str()
}

/// A configuration, a map or TOML, as dotted items.
fn items(config: &Value) -> BTreeMap<String, Value> {
    let parsed = config.as_str().and_then(|text| toml::from_str::<toml::Table>(text).ok());
    let parsed = parsed.and_then(|table| serde_json::to_value(table).ok());
    let mut items = BTreeMap::new();
    collect(parsed.as_ref().unwrap_or(config), "", &mut items);
    items
}

fn collect(config: &Value, prefix: &str, items: &mut BTreeMap<String, Value>) {
    for (name, value) in config.as_object().into_iter().flatten() {
        let key = format!("{prefix}{}", name.to_lowercase().replace('_', "-"));
        if value.is_object() {
            collect(value, &format!("{key}."), items);
        } else {
            items.insert(key, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_is_read_as_a_map_and_as_text() {
        let map = items(&json!({"raftstore": {"raft_log_gc_threshold": 7}}));
        let text = items(&json!("[raftstore]\nraft-log-gc-threshold = 7\n"));
        assert_eq!(map, [("raftstore.raft-log-gc-threshold".to_owned(), json!(7))].into());
        assert_eq!(map, text);
    }
}
