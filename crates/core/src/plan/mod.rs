//! What is to be done next? One pure function.
//!
//! [`plan`] reads as a table of contents: each concern proposes steps to a draft, in the
//! order in which concerns matter, and every proposal passes all rules.

mod bootstrap;
mod builds_on;
pub(crate) mod calm;
mod cleanup;
pub(crate) mod config_pd;
pub(crate) mod config_tikv;
mod data_format;
mod delete;
mod draft;
mod drain;
mod evict;
mod exchange;
mod failover_pd;
mod failover_stores;
mod forecast;
mod furniture;
mod gate;
mod guard;
mod identity;
mod leave_pd;
pub(crate) mod maintenance;
mod members;
mod once;
mod outage;
mod pd_slots;
mod progress;
mod repair;
mod resize;
mod restart;
mod retire;
mod roster;
mod rows;
mod scale_in_pd;
mod scale_in_tikv;
mod scale_out;
mod scene;
mod spare;
mod step;
mod store_labels;
mod suspend;
mod trial;
mod upgrade_pd;
mod upgrade_tikv;
mod wait;
mod wishes;
mod words;

use std::time::Duration;

pub(crate) use calm::disturbance;
pub use config_tikv::noted_start;
pub(crate) use data_format::verdict as data_format;
pub use forecast::{Forecast, Restart, Setting, forecast};
#[cfg(test)]
pub(crate) use furniture::owned as furniture_of;
pub(crate) use gate::{existed_at, version_made};
pub use identity::Identity;
pub use outage::Outage;
pub(crate) use retire::unwatched;
pub use roster::Roster;
pub use rows::Member;
pub use scene::Scene;
pub use step::Step;
pub(crate) use upgrade_pd::unfinished as pd_unfinished;
pub use wait::{Severity, Wait};
pub use wishes::{EVICT, LEAVE, REPLACE, RESTART, WISHES};

use self::draft::Draft;
use crate::cluster::Cluster;
use crate::world::World;

/// The outcome of planning: what to do now, what is held and why, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Calls to make, in order.
    pub steps: Vec<Step>,
    /// Steps not taken, with the rule that holds each.
    pub waits: Vec<Wait>,
    /// Look again after this long even if nothing wakes the operator.
    pub wake: Duration,
}

/// Decides the next steps for `cluster` in `world`. Pure and deterministic.
pub fn plan(cluster: &Cluster, world: &World) -> Plan {
    let scene = Scene::new(cluster, world);
    decide(&scene, Draft::new(&scene))
}

/// As [`plan`], with one rule that is not asked: its guard refuses nothing, and it holds no planner
/// back. How it is proved that every rule is needed (`docs/mutations.md`); nothing but tests has a use
/// for it.
#[doc(hidden)]
pub fn plan_without(cluster: &Cluster, world: &World, rule: &'static str) -> Plan {
    let scene = Scene::without(cluster, world, rule);
    decide(&scene, Draft::new(&scene))
}

fn decide<'a>(scene: &'a Scene<'a>, mut draft: Draft<'a>) -> Plan {
    if delete::going(scene, &mut draft) || guard::holds(scene, &mut draft) {
        return draft.finish();
    }
    delete::keep_finalizer(scene, &mut draft);
    if bootstrap::record(scene, &mut draft) {
        return draft.finish();
    }
    furniture::arrange(scene, &mut draft);
    if suspend::stop(scene, &mut draft) {
        members::fill(scene, &mut draft);
        members::mark(scene, &mut draft);
        resize::grow(scene, &mut draft);
        cleanup::prune(scene, &mut draft);
        progress::explain(scene, &mut draft);
        return draft.finish();
    }
    repair::replace_broken(scene, &mut draft);
    failover_pd::replace(scene, &mut draft);
    data_format::record(scene, &mut draft);
    failover_stores::replace(scene, &mut draft);
    members::fill(scene, &mut draft);
    members::mark(scene, &mut draft);
    retire::retire(scene, &mut draft);
    scale_in_tikv::leave(scene, &mut draft);
    exchange::say(scene, &mut draft);
    scale_in_pd::shrink(scene, &mut draft);
    drain::make_way(scene, &mut draft);
    upgrade_pd::roll(scene, &mut draft);
    upgrade_tikv::roll(scene, &mut draft);
    evict::finish(scene, &mut draft);
    maintenance::give_back(scene, &mut draft);
    config_pd::apply(scene, &mut draft);
    config_tikv::apply(scene, &mut draft);
    wishes::name_unclear(scene, &mut draft);
    cleanup::prune(scene, &mut draft);
    store_labels::set(scene, &mut draft);
    resize::grow(scene, &mut draft);
    progress::explain(scene, &mut draft);
    draft.finish()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_adoption;
#[cfg(test)]
mod tests_config;
#[cfg(test)]
mod tests_gate;
#[cfg(test)]
mod tests_pd;
#[cfg(test)]
mod upgrade_tests;
