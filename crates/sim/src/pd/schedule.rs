//! What does PD do with replicas and leaders by itself?

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Cluster, Store, StoreState};
use super::region::{Peer, Region};
use crate::beliefs;
use crate::clock::SECOND;

impl Cluster {
    /// Adds missing replicas, moves those of leaving or dead stores, takes surplus ones away; one
    /// change at a time per region.
    pub(super) fn move_replicas(&mut self, now: u64) {
        let max_down = self.max_down;
        let fit = |s: &Store| s.state == StoreState::Up && s.is_heard(now);
        let fit: BTreeSet<u64> = self.stores.values().filter(|s| fit(s)).map(|s| s.id).collect();
        let leaving: BTreeSet<u64> = self
            .stores
            .values()
            .filter(|s| s.state != StoreState::Up || s.state_name(now, max_down) == "Down")
            .map(|s| s.id)
            .collect();
        let leaves = |stores: &BTreeMap<u64, Store>, id: &u64| {
            leaving.contains(id) || !stores.contains_key(id)
        };
        let mut load: BTreeMap<u64, usize> = fit.iter().map(|id| (*id, 0)).collect();
        for region in &self.regions {
            for id in region.peers.keys() {
                load.entry(*id).and_modify(|count| *count += 1);
            }
        }
        let wanted = self.max_replicas as usize;
        let stores = &self.stores;
        for region in &mut self.regions {
            give_up_learner(region, |id| leaves(stores, id), &mut load);
        }
        let level = self.settings.isolation_level().to_owned();
        let domain = |id: &u64| domain(stores.get(id)?, &self.location_labels, &level);
        for region in self.regions.iter_mut().filter(|r| r.voters().count() == r.peers.len()) {
            let surplus = region.peers.keys().copied().find(|id| leaves(stores, id));
            let emptiest = load.iter().filter(|(id, _)| !region.peers.contains_key(id));
            let emptiest = emptiest.filter(|(id, _)| {
                let mut stay = region.peers.keys().filter(|peer| !leaves(stores, peer));
                domain(id).is_none_or(|own| stay.all(|peer| domain(peer).as_ref() != Some(&own)))
            });
            let spare = emptiest.min_by_key(|(_, count)| **count).map(|(id, _)| *id);
            let staying = region.peers.keys().filter(|id| !leaves(stores, id)).count();
            match (surplus, spare) {
                (_, Some(spare)) if staying < wanted => add(region, spare, now, &mut load),
                (Some(surplus), _) if staying >= wanted => remove(region, surplus, &mut load),
                (None, _) if staying > wanted => {
                    let fullest = region.peers.keys().filter(|id| Some(**id) != region.leader);
                    let fullest = fullest.max_by_key(|id| load.get(id)).copied();
                    if let Some(fullest) = fullest {
                        remove(region, fullest, &mut load);
                    }
                }
                (None, Some(spare)) if staying == wanted && now.is_multiple_of(5 * SECOND) => {
                    balance(region, spare, now, &mut load);
                }
                _ => {}
            }
        }
    }

    /// Leaders leave stores that are evicted or stopping; the others share them evenly.
    pub(super) fn move_leaders(&mut self, now: u64) {
        let stopping = self.stopping.len() == 1;
        let shunned: BTreeSet<u64> = self
            .evicting
            .iter()
            .chain(self.stopping.iter().filter(|_| stopping))
            .copied()
            .collect();
        let able = |store: &Store| {
            store.state == StoreState::Up && store.is_heard(now) && !shunned.contains(&store.id)
        };
        let mut load: BTreeMap<u64, usize> =
            self.stores.values().filter(|s| able(s)).map(|s| (s.id, 0)).collect();
        for leader in self.regions.iter().filter_map(|region| region.leader) {
            load.entry(leader).and_modify(|count| *count += 1);
        }
        let mut moved = BTreeSet::new();
        for region in &mut self.regions {
            let Some(leader) = region.leader.filter(|id| !self.held.contains(id)) else { continue };
            // A replica that is behind is no target ([`beliefs::NO_TARGET_NO_EVICTION`]).
            let targets = region.voters().filter(|id| *id != leader && !region.behind.contains(id));
            let targets: Vec<u64> = targets.filter(|id| load.contains_key(id)).collect();
            let Some(to) = targets.into_iter().min_by_key(|id| load.get(id)) else { continue };
            let (from, there) = (load.get(&leader).copied(), load.get(&to).copied());
            let uneven = from.zip(there).is_some_and(|(from, there)| from >= there + 2)
                && now.is_multiple_of(5 * SECOND);
            if (shunned.contains(&leader) || uneven) && moved.insert(leader) {
                load.entry(to).and_modify(|count| *count += 1);
                load.entry(leader).and_modify(|count| *count = count.saturating_sub(1));
                region.leader = Some(to);
            }
        }
    }
}

/// Where the store is, down to the isolation level; `None` where PD isolates nothing
/// ([`beliefs::ISOLATED`]).
fn domain(store: &Store, labels: &[String], level: &str) -> Option<Vec<String>> {
    let end = labels.iter().position(|label| label == level)?;
    let value = |label| store.labels.get(label).cloned().unwrap_or_default();
    Some(labels.iter().take(end + 1).map(value).collect())
}

fn add(region: &mut Region, store: u64, now: u64, load: &mut BTreeMap<u64, usize>) {
    let ready_at = now + beliefs::CATCH_UP_TAKES.value;
    region.peers.insert(store, Peer::Learner { ready_at });
    load.entry(store).and_modify(|count| *count += 1);
}

/// A replica that was on its way to a store that is lost or leaves.
fn give_up_learner(
    region: &mut Region,
    leaves: impl Fn(&u64) -> bool,
    load: &mut BTreeMap<u64, usize>,
) {
    let mut learners = region.peers.iter().filter(|(_, peer)| **peer != Peer::Voter);
    let lost = learners.find(|(id, _)| leaves(id)).map(|(id, _)| *id);
    if let Some(lost) = lost {
        remove(region, lost, load);
    }
}

fn remove(region: &mut Region, store: u64, load: &mut BTreeMap<u64, usize>) {
    region.peers.remove(&store);
    region.leader = region.leader.filter(|leader| *leader != store);
    load.entry(store).and_modify(|count| *count = count.saturating_sub(1));
}

/// A replica more on a store that has far fewer than another of the region's; the surplus one goes
/// when the new one has caught up.
fn balance(region: &mut Region, spare: u64, now: u64, load: &mut BTreeMap<u64, usize>) {
    let most = region.peers.keys().filter_map(|id| load.get(id)).max().copied();
    let least = load.get(&spare).copied();
    if most.zip(least).is_some_and(|(most, least)| most >= least + 2) {
        add(region, spare, now, load);
    }
}
