//! Were settings changed that PD or the data cannot bear, or calls made again and again?

use std::collections::BTreeMap;

use serde_json::Value;
use tikv_operator_core::report::FailureKind;

use super::Auditor;
use crate::clock::SECOND;
use crate::kube::{Object, at, name_of, text, uid_of};
use crate::operator::{Pass, Write};
use crate::pd::{Store, StoreState};
use crate::universe::Universe;

const FIT: &str = "F72 replicas and labels fit the stores";
const FORMAT: &str = "the format of the data stays that of the first start";
const AGAIN: &str = "I12 a refused call is not made again and again";

/// More refusals of the same call than this within [`WITHIN`] are too many: a stranger or a quota
/// is looked at again every minute.
const PATIENCE: usize = 6;
const WITHIN: u64 = 60 * SECOND;
/// The words in which the second reading, right before the call, refuses what no plan may ask for.
const NO_MAJORITY: &str = "no majority of healthy members would remain";
/// What a store's files are made with.
const OF_FORMAT: [&str; 3] = ["/storage/engine", "/storage/api-version", "/storage/enable-ttl"];

impl Auditor {
    /// A setting of PD was changed: what it says now must be possible.
    pub(super) fn judge_setting(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        if !write.key.name.starts_with("replication.") {
            return;
        }
        let index = universe.cluster_of(cluster);
        let Some(ensemble) = index.and_then(|index| universe.pd.ensembles.get(index)) else {
            return;
        };
        let stores: Vec<&Store> =
            ensemble.cluster.stores.values().filter(|s| s.state == StoreState::Up).collect();
        let replicas = ensemble.cluster.max_replicas as usize;
        if replicas > stores.len() {
            let what = format!("{}: {replicas} replicas on {} stores", write.key, stores.len());
            self.find(FIT, what);
        }
        for label in &ensemble.cluster.location_labels {
            if let Some(store) = stores.iter().find(|store| !store.labels.contains_key(label)) {
                self.find(FIT, format!("{}: store {} has no label {label}", write.key, store.id));
            }
        }
    }

    /// A pod was made: its files are those that its store was begun with.
    pub(super) fn judge_format(&mut self, universe: &Universe, cluster: &str, pod: &Object) {
        if !name_of(pod).contains("-tikv-") {
            return;
        }
        let resource = universe.kube.get("TikvCluster", cluster).map(uid_of).unwrap_or_default();
        let volumes = at(pod, "/spec/volumes").as_array().into_iter().flatten();
        let maps = volumes.filter_map(|volume| at(volume, "/configMap/name").as_str());
        let texts = maps.filter_map(|name| universe.kube.get("ConfigMap", name)).flat_map(|map| {
            at(map, "/data").as_object().into_iter().flat_map(serde_json::Map::values)
        });
        let mut format = BTreeMap::new();
        for text in texts.filter_map(Value::as_str) {
            let Ok(table) = toml::from_str::<toml::Table>(text) else { continue };
            let settings = serde_json::to_value(&table).unwrap_or_default();
            for path in OF_FORMAT {
                let value = at(&settings, path);
                let plain = value.is_null() || value == &Value::Bool(false);
                if !plain {
                    format.insert(path, value.to_string());
                }
            }
        }
        let first = self.formats.entry(resource.to_owned()).or_insert_with(|| format.clone());
        if *first != format {
            let what = format!("{} is made with {format:?}, the first was {first:?}", name_of(pod));
            self.find(FORMAT, what);
        }
    }

    /// Calls that were refused, not for being late.
    pub(super) fn judge_refusals(&mut self, pass: &Pass) {
        let refused = pass.outcomes.iter().filter_map(|outcome| {
            let failure = outcome.result.as_ref().err()?;
            // A quota (403) may be raised at any time; the operator's own back-off is not modelled.
            let counts = matches!(failure.kind, FailureKind::Refused | FailureKind::Foreign)
                && !failure.message.starts_with("403");
            let step = format!("{:?}", outcome.step);
            counts.then(|| format!("{step:.60}: {:.80}", failure.message))
        });
        for call in refused {
            let now = self.now;
            let times = self.refused.entry(call.clone()).or_default();
            times.retain(|at| now - *at < WITHIN);
            times.push(now);
            if times.len() > PATIENCE {
                self.find(AGAIN, call);
            }
        }
        let second = pass.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err());
        for failure in second.filter(|failure| failure.message.contains(NO_MAJORITY)) {
            self.find(super::removal::VOTERS, failure.message.clone());
        }
    }

    /// A user told PD to remove a store.
    pub fn users_removal(&mut self, cluster: &str, store: u64) {
        self.users_removals.insert((cluster.to_owned(), store));
    }

    /// The removal of a store was ended.
    pub(super) fn judge_kept(&mut self, cluster: &str, write: &Write) {
        let user = write
            .key
            .name
            .parse()
            .is_ok_and(|id: u64| self.users_removals.contains(&(cluster.to_owned(), id)));
        if user {
            self.find(super::I8, format!("{}: a user began it", write.key));
        }
    }

    /// The decision to bootstrap is made once, and the id in status is one that PD made.
    pub(super) fn judge_decision(&mut self, universe: &Universe, write: &Write) {
        let id = write.after.as_deref().map_or("", |after| text(after, "/status/clusterId"));
        let made =
            |e: &crate::pd::Ensemble| e.cluster_id.is_some_and(|made| made.to_string() == id);
        let mut claims = universe.kube.list("PersistentVolumeClaim");
        let named = claims.any(|claim| super::removal::note(claim, "cluster-id") == id);
        if !id.is_empty() && !named && !universe.pd.ensembles.iter().any(made) {
            self.find(super::ONE, format!("no PD made {id}"));
        }
        let (Some(before), Some(after)) = (write.before.as_deref(), write.after.as_deref()) else {
            return;
        };
        let recorded = self.seen.get(uid_of(after)).is_some_and(|seen| seen.recorded.is_some());
        let (old, new) = (at(before, "/status/bootstrap"), at(after, "/status/bootstrap"));
        if recorded && !new.is_null() && !old.is_null() && old != new {
            let what =
                format!("{}: {} for {}", name_of(after), text(new, "/token"), text(old, "/token"));
            self.find(super::ONE, what);
        }
    }
}
