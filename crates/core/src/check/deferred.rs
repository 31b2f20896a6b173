//! Which fields are set whose behaviour this version does not have yet?
//!
//! Wishes that change what the cluster *is* (encryption, another PD) are not here:
//! they are refused.

use tikv_operator_api::v1alpha1::{ConfigUpdateStrategy, PodSettings, TikvClusterSpec};

use crate::cluster::Deferred;

const IN_PLACE: &str = "Applying configuration to running servers is not there yet; a change \
                        reaches a pod when it is made anew.";

/// All of them, in the order of their paths.
pub(super) fn find(spec: &TikvClusterSpec) -> Vec<Deferred> {
    let mut found = Vec::new();
    settings(&spec.pod, "spec", &mut found);
    settings(&spec.pd.pod, "spec.pd", &mut found);
    settings(&spec.tikv.pod, "spec.tikv", &mut found);
    found.sort();
    found
}

fn settings(settings: &PodSettings, path: &str, found: &mut Vec<Deferred>) {
    let mut note = |field: &str, set: bool, sentence: &str| {
        if set {
            add(found, format!("{path}.{field}"), sentence);
        }
    };
    let strategy = settings.config_update_strategy;
    note("configUpdateStrategy", strategy == Some(ConfigUpdateStrategy::InPlace), IN_PLACE);
}

fn add(found: &mut Vec<Deferred>, field: String, sentence: &str) {
    found.push(Deferred { field, sentence: sentence.to_owned() });
}
