//! Does the status say what is true?

use serde_json::Value;

use super::{Auditor, condition};
use crate::clock::SECOND;
use crate::kube::{at, text};
use crate::pd::{Ensemble, StoreState};
use crate::universe::Universe;

const TRUTH: &str = "I13 the status is true";

impl Auditor {
    /// Compares the status with what is, once nothing moves any more. Returns whether the cluster
    /// is Ready by its own account.
    pub fn at_rest(&mut self, universe: &Universe, cluster: &str) -> bool {
        self.now = universe.now;
        self.judge_leftovers(universe, cluster);
        self.judge_wishes(universe, cluster);
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return false };
        let ready = condition(resource, "Ready") == Some("True");
        if at(resource, "/status/observedGeneration") != at(resource, "/metadata/generation") {
            self.find(TRUTH, format!("{cluster}: observedGeneration is behind"));
        }
        let id: Option<u64> = text(resource, "/status/clusterId").parse().ok();
        let mut ensembles = universe.pd.ensembles.iter();
        let ensemble = ensembles.rfind(|e| e.cluster_id.is_some() && e.cluster_id == id);
        if let Some(obstacle) = ensemble.map_or(Some("no PD has this id".to_owned()), obstacle)
            && ready
        {
            self.find(TRUTH, format!("{cluster} says Ready, but {obstacle}"));
        }
        for (component, least) in [("pd", "/spec/pd/replicas"), ("tikv", "/spec/tikv/replicas")] {
            let wanted = at(resource, least).as_u64().unwrap_or(3);
            let shown = at(resource, &format!("/status/{component}/ready")).as_u64();
            if ready && shown != Some(wanted) {
                let what = format!("{cluster} says Ready, but {component}.ready is {shown:?}");
                self.find(TRUTH, what);
            }
        }
        ready
    }
}

/// What keeps a cluster from being usable and safe, by what its servers know.
fn obstacle(ensemble: &Ensemble) -> Option<String> {
    if ensemble.leader.is_none() {
        return Some("PD has no leader".to_owned());
    }
    if ensemble.members.values().any(|member| member.client_url.is_none()) {
        return Some("a PD member has not started".to_owned());
    }
    let stores = ensemble.cluster.stores.values();
    let mut live = stores.filter(|store| store.state != StoreState::Tombstone).peekable();
    if live.peek().is_none() {
        return Some("no store has registered".to_owned());
    }
    let wanted = ensemble.cluster.full_replication();
    let thin = ensemble.cluster.regions.iter().find(|region| region.voters().count() < wanted);
    thin.map(|region| format!("region {} has too few replicas", region.id))
}

/// A field of a component in the spec that is in force, else the cluster's own.
pub(super) fn setting<'a>(
    universe: &'a Universe,
    cluster: &str,
    component: &str,
    field: &str,
) -> &'a Value {
    let spec = universe.spec_in_force(cluster);
    let own = at(spec, &format!("/{component}{field}"));
    if own.is_null() { at(spec, field) } else { own }
}

/// A duration such as `10m` in milliseconds; `default` is in seconds.
pub(super) fn duration(value: &Value, default: u64) -> u64 {
    let Some(text) = value.as_str() else { return default * SECOND };
    let (mut total, mut number) = (0, 0);
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            number = number * 10 + u64::from(digit);
            continue;
        }
        let unit = match letter {
            'h' => 3600,
            'm' => 60,
            _ => 1,
        };
        (total, number) = (total + number * unit, 0);
    }
    total * SECOND
}
