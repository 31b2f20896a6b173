//! Which stores are away, do they fail together, and how many may?
//!
//! PD spreads the replicas of a region over the values of its `location-labels`. Stores with the
//! same value fail together and hold at most one replica of a region, so what counts is the number
//! of such failure domains that are away, not the number of stores.

use std::collections::BTreeSet;

use super::Scene;
use crate::world::{LostZones, PdFacts, StoreFacts, StoreId, StoreState};

/// A store that has not sent a heartbeat for this long is away, whatever its state says: PD itself
/// waits 20 s before it calls a store Disconnected, and says so of Up stores only: one that is being
/// removed reads Offline, dead or alive (the stand-in's `trap_03`).
const FRESH: jiff::SignedDuration = jiff::SignedDuration::from_secs(20);

/// As many stores are named in a sentence.
const NAMED: usize = 5;

/// The stores that are away and what that means for regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Stores that PD lists and has not heard lately.
    pub away: BTreeSet<StoreId>,
    /// The first of them and the number of the others, for a sentence.
    pub named: String,
    /// Failure domains that they are in.
    pub domains: BTreeSet<String>,
    /// Failure domains that may be away before some region may have lost its majority:
    /// `floor((max-replicas - 1) / 2)`.
    pub bearable: u32,
    /// Zones of several stores that are away as a whole.
    pub zones: LostZones,
}

impl Outage {
    /// Some regions may have lost their majority: only people can decide what to do.
    pub fn is_too_much(&self) -> bool {
        u32::try_from(self.domains.len()).is_ok_and(|domains| domains > self.bearable)
    }
}

impl Scene<'_> {
    /// What [`Scene::outage`] keeps.
    pub(super) fn derive_outage(&self) -> Option<Outage> {
        let pd = self.pd()?;
        let bearable = pd.max_replicas?.saturating_sub(1) / 2;
        let label = domain_label(pd);
        let away: Vec<&StoreFacts> = pd.live_stores().filter(|s| self.is_away(s)).collect();
        Some(Outage {
            named: named(&away),
            away: away.iter().map(|store| store.id).collect(),
            domains: away.iter().map(|store| domain(store, label)).collect(),
            bearable,
            zones: pd.lost_zones(self.world.now),
        })
    }

    /// The store has been heard once, and not lately.
    pub fn is_away(&self, store: &StoreFacts) -> bool {
        store.is_away(self.world.now)
    }

    /// PD has heard the store within the last heartbeats and calls it Up.
    pub fn is_fresh(&self, store: &StoreFacts) -> bool {
        let heard = store.last_heartbeat.map(|at| self.world.now.duration_since(at));
        store.state == StoreState::Up && heard.is_some_and(|ago| ago <= FRESH)
    }
}

/// The stores for a sentence that is said of each of them, so it must not grow with their number.
fn named(stores: &[&StoreFacts]) -> String {
    let name = |store: &&StoreFacts| format!("store {} at {}", store.id, store.address);
    let first: Vec<String> = stores.iter().take(NAMED).map(name).collect();
    match stores.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more stores", first.join(", ")),
    }
}

/// The widest location label whose values suffice for one replica each: PD isolates replicas by
/// it. `None`: stores fail one by one.
fn domain_label(pd: &PdFacts) -> Option<&String> {
    let replicas = usize::try_from(pd.max_replicas?).unwrap_or(usize::MAX);
    pd.location_labels.iter().find(|label| {
        let values: BTreeSet<&String> =
            pd.live_stores().filter_map(|store| store.labels.get(*label)).collect();
        values.len() >= replicas
    })
}

/// A store without the label fails by itself.
fn domain(store: &StoreFacts, label: Option<&String>) -> String {
    let value = label.and_then(|label| store.labels.get(label).map(|value| (label, value)));
    value.map_or_else(|| format!("store {}", store.id), |(label, value)| format!("{label}={value}"))
}
