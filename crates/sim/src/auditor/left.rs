//! Was anything left behind that belongs to an operation which is over?

use std::collections::BTreeSet;

use super::removal::{belongs, note};
use super::{Auditor, I8};
use crate::kube::{name_of, text, uid_of};
use crate::pd::StoreState;
use crate::universe::Universe;

impl Auditor {
    /// At rest there is no eviction but those of users, no mark of one and no lock of ours.
    pub(super) fn judge_leftovers(&mut self, universe: &Universe, cluster: &str) {
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let users = self.users_evictions.iter().filter(|(of, _)| of == cluster);
        let users: BTreeSet<u64> = users.map(|(_, store)| *store).collect();
        for store in ensemble.cluster.evicting.difference(&users) {
            self.find(I8, format!("{cluster}: leaders are still evicted from store {store}"));
        }
        let live = |id: &u64| {
            let store = ensemble.cluster.stores.get(id);
            store.is_some_and(|store| store.state != StoreState::Tombstone)
        };
        for store in users.iter().filter(|id| live(id) && !ensemble.cluster.evicting.contains(id)) {
            self.find(I8, format!("{cluster}: the user's eviction of store {store} is gone"));
        }
        for claim in universe.kube.list("PersistentVolumeClaim") {
            let marked = !note(claim, "evicting").is_empty() && note(claim, "retired").is_empty();
            if belongs(claim, cluster) && marked {
                self.find(I8, format!("{} still says evicting", name_of(claim)));
            }
        }
        let uid = universe.kube.get("TikvCluster", cluster).map(uid_of);
        let held = ensemble.maintenance.as_ref();
        if let (Some((kind, id, _)), Some(uid)) = (held, uid)
            && id.starts_with(uid)
        {
            self.find(I8, format!("{cluster}: the lock {kind}/{id} is still held"));
        }
        if text(ensemble.cluster.settings.shown(), "/schedule/halt-scheduling") == "true" {
            self.find(I8, format!("{cluster}: scheduling is halted"));
        }
    }
}
