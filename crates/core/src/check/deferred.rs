//! Which fields are set whose behaviour this version does not have yet?
//!
//! A field counts as set when its value differs from the default, since the default describes what
//! happens now. Wishes that change what the cluster *is* (encryption, another PD) are not here:
//! they are refused.

use std::time::Duration;

use tikv_operator_api::v1alpha1::{
    ConfigUpdateStrategy, DurationText, PodSettings, TikvClusterSpec,
};

use super::{defaults, scalars};
use crate::cluster::Deferred;

const SUSPEND: &str = "Stopping a cluster is not there yet; its pods keep running.";
const FAILOVER: &str = "Failed members are not replaced yet; the value has no effect.";
const IN_PLACE: &str = "Applying configuration to running servers is not there yet; a change \
                        reaches a pod when it is made anew.";
const STORE_LABELS: &str =
    "Stores do not get labels from their nodes yet; the value has no effect.";

/// All of them, in the order of their paths.
pub(super) fn find(spec: &TikvClusterSpec) -> Vec<Deferred> {
    let mut found = Vec::new();
    settings(&spec.pod, "spec", &mut found);
    settings(&spec.pd.pod, "spec.pd", &mut found);
    settings(&spec.tikv.pod, "spec.tikv", &mut found);
    let tikv = &spec.tikv;
    let mut note = |field: &str, set: bool, sentence: &str| {
        if set {
            add(&mut found, format!("spec.tikv.{field}"), sentence);
        }
    };
    note("storeLabels", !tikv.store_labels.is_empty(), STORE_LABELS);
    found.sort();
    found
}

fn settings(settings: &PodSettings, path: &str, found: &mut Vec<Deferred>) {
    let mut note = |field: &str, set: bool, sentence: &str| {
        if set {
            add(found, format!("{path}.{field}"), sentence);
        }
    };
    let suspend = settings.suspend_action.as_ref().and_then(|s| s.suspend_stateful_set);
    note("suspendAction.suspendStatefulSet", suspend == Some(true), SUSPEND);
    let strategy = settings.config_update_strategy;
    note("configUpdateStrategy", strategy == Some(ConfigUpdateStrategy::InPlace), IN_PLACE);
    let failover = settings.failover.clone().unwrap_or_default();
    note("failover.after", differs(failover.after.as_ref(), defaults::FAILOVER_AFTER), FAILOVER);
    note(
        "failover.quarantine",
        differs(failover.quarantine.as_ref(), defaults::FAILOVER_QUARANTINE),
        FAILOVER,
    );
    let max = settings.max_failover_count;
    note("maxFailoverCount", max.is_some_and(|n| n != defaults::FAILOVER_MAX), FAILOVER);
}

fn differs(text: Option<&DurationText>, default: Duration) -> bool {
    text.is_some_and(|text| scalars::duration(&text.0) != Some(default))
}

fn add(found: &mut Vec<Deferred>, field: String, sentence: &str) {
    found.push(Deferred { field, sentence: sentence.to_owned() });
}
