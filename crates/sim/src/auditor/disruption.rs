//! Was anything taken away that the others cannot do without?
//!
//! By the truth at the moment of the step: which processes serve, what they have on disk, who
//! votes. What the operator believed is of no interest here.

use super::Auditor;
use super::patience::is_back;
use crate::clock::SECOND;
use crate::kube::{Object, at, is_deleting, name_of, text, uid_of};
use crate::operator::Write;
use crate::pd::{Ensemble, Region, StoreState};
use crate::search::Likeness;
use crate::tikv::Stage;
use crate::universe::Universe;

const QUORUM: &str = "I2 no voluntary disruption takes a quorum";
const ONE: &str = "I2 one voluntary disruption at a time";
const LEADERS: &str =
    "scenario 28: a store is restarted without its leaders, which stay away until it is back";
const PD_LEADER: &str = "scenario 22: the PD leader is restarted after its leadership was moved";

/// An eviction that did not empty a store is given up after this long at the earliest.
const EARLIEST_GIVING_UP: u64 = 30 * SECOND;

/// For so long it is of interest that a store came back.
const REMEMBERED: u64 = 60 * SECOND;

/// A pod that was serving when the operator deleted it.
#[derive(Clone, Debug)]
pub(super) struct Disrupted {
    cluster: String,
    pod: String,
    uid: String,
    /// The store, or the PD member, that ran in it.
    id: u64,
    ensemble: usize,
}

impl Disrupted {
    /// All of it.
    pub(super) fn tell(&self, to: &mut Likeness) {
        let Self { cluster, pod, uid, id, ensemble } = self;
        to.same((cluster, pod, ensemble));
        to.text(uid);
        to.id(*id);
    }
}

impl Auditor {
    /// Notes since when stores are evicted, and which disrupted members are back.
    pub(super) fn follow_disruptions(&mut self, universe: &Universe) {
        let mut evicted = std::collections::BTreeMap::new();
        for (index, ensemble) in universe.pd.ensembles.iter().enumerate() {
            for store in &ensemble.cluster.evicting {
                let key = (index, *store);
                let since = self.evicted_since.get(&key).copied().unwrap_or(self.now);
                evicted.insert(key, since);
            }
        }
        self.evicted_since = evicted;
        for gone in self.disrupted.iter().filter(|gone| is_over(gone, universe)) {
            let ensemble = universe.pd.ensembles.get(gone.ensemble);
            if ensemble.is_some_and(|ensemble| is_back(ensemble, gone.id, &gone.pod)) {
                self.back.insert((gone.ensemble, gone.id), self.now);
            }
        }
        self.back.retain(|_, since| self.now - *since < REMEMBERED);
        self.disrupted.retain(|gone| !is_over(gone, universe));
    }

    /// A pod that serves is taken only where the others can do without it, and nothing else is
    /// away by our hand.
    pub(super) fn judge_lost_pod(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let Some(pod) = write.before.as_deref().filter(|pod| !is_deleting(pod)) else { return };
        let component = text(pod, "/metadata/labels/app.kubernetes.io~1component");
        if is_deleting(resource) || is_suspended(resource, component) {
            return;
        }
        let serves = member_in(universe, uid_of(pod));
        let Some((index, id)) = serves.or_else(|| returning(universe, pod)) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        if component == "pd" {
            // Where all have ended at once those that are about to return are counted on.
            let more = if serves.is_some() { 0 } else { returning_members(universe, index, id) };
            self.judge_lost_member(universe, (index, id), more, write);
        } else {
            self.judge_lost_store(universe, (index, id), write);
        }
        let counts = match component {
            "pd" => ensemble.members.contains_key(&id),
            _ => ensemble.cluster.stores.get(&id).is_some_and(|s| s.state != StoreState::Tombstone),
        };
        if !counts {
            return;
        }
        let other = self.disrupted.iter().find(|gone| gone.cluster == cluster);
        if let Some(other) = other.map(|gone| gone.pod.clone()) {
            self.find(ONE, format!("{} was deleted while {other} is not back", write.key));
        }
        let (cluster, pod, uid) =
            (cluster.to_owned(), name_of(pod).to_owned(), uid_of(pod).to_owned());
        self.disrupted.push(Disrupted { cluster, pod, uid, id, ensemble: index });
    }

    fn judge_lost_store(&mut self, universe: &Universe, (index, id): (usize, u64), write: &Write) {
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let others = well_stores(universe, ensemble, Some(id));
        let redundant = ensemble.cluster.max_replicas >= 3 && others.len() >= 2;
        let regions = ensemble.cluster.regions.iter().filter(|r| r.voters().any(|v| v == id));
        for region in regions.clone() {
            let left = region.voters().filter(|store| others.contains(store)).count();
            if left < region.quorum() && (redundant || region.voters().count() >= 3) {
                let what = format!(
                    "{} was deleted: {left} voters of region {} left",
                    write.key, region.id
                );
                self.find(QUORUM, what);
            }
        }
        let takes_over =
            |store: u64| others.contains(&store) && !ensemble.cluster.evicting.contains(&store);
        // A region that loses its quorum with this store serves nowhere, whoever leads it.
        let is_kept = |region: &&Region| {
            region.voters().filter(|store| others.contains(store)).count() >= region.quorum()
        };
        let led = regions
            .filter(is_kept)
            .filter(|region| region.leader == Some(id))
            .filter(|region| region.voters().any(takes_over))
            .count();
        let evicted = self.evicted_since.get(&(index, id));
        let gave_up = evicted.is_some_and(|since| self.now - since >= EARLIEST_GIVING_UP);
        if led > 0 && !gave_up {
            let what = format!("{} was deleted with {led} leaders on it", write.key);
            self.find(LEADERS, what);
        }
    }

    fn judge_lost_member(
        &mut self,
        universe: &Universe,
        (index, id): (usize, u64),
        more: usize,
        write: &Write,
    ) {
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        if !ensemble.members.contains_key(&id) || ensemble.members.len() < 3 {
            return;
        }
        let others = well_members(universe, index, id) + more;
        if others < ensemble.quorum() {
            let all = ensemble.members.len();
            self.find(QUORUM, format!("{} was deleted and {others} of {all} serve", write.key));
        }
        if ensemble.leader == Some(id) && others > 0 {
            self.find(PD_LEADER, format!("{} was deleted", write.key));
        }
    }

    /// An eviction ends when the store is back, and only one that is ours.
    pub(super) fn judge_end_of_eviction(
        &mut self,
        universe: &Universe,
        cluster: &str,
        write: &Write,
    ) {
        let Ok(store) = write.key.name.parse::<u64>() else { return };
        if let Some(index) = universe.cluster_of(cluster) {
            self.evicted_since.remove(&(index, store));
        }
        if self.users_evictions.contains(&(cluster.to_owned(), store)) {
            let what = format!("{} was put there by a user", write.key);
            self.find(super::I8, what);
        }
        let away = self.disrupted.iter().find(|gone| {
            gone.cluster == cluster && gone.id == store && gone.pod.contains("-tikv-")
        });
        if let Some(pod) = away.map(|gone| gone.pod.clone()) {
            self.find(LEADERS, format!("{} while {pod} is not back", write.key));
        }
    }
}

/// The consensus history and the member or store that a pod's process is, while it serves.
fn member_in(universe: &Universe, uid: &str) -> Option<(usize, u64)> {
    if let Some(process) = universe.pd.processes.get(uid) {
        let data = universe.pd.disks.get(&process.disk)?;
        return universe.pd.is_open(uid).then_some((data.ensemble, data.member));
    }
    let process = universe.tikv.processes.get(uid)?;
    let Stage::Serving { store, .. } = process.stage else { return None };
    let cluster = universe.tikv.disks.get(&process.disk)?.cluster_id;
    let index = universe.pd.ensembles.iter().rposition(|e| e.cluster_id == Some(cluster))?;
    Some((index, store))
}

/// The PD member whose process ended a moment ago in a pod, and is about to be started again.
fn returning(universe: &Universe, pod: &Object) -> Option<(usize, u64)> {
    if !universe.nodes.is_about_to_return(uid_of(pod), universe.now) {
        return None;
    }
    let disk = universe.nodes.disk_of_claim(&format!("pd-{}", name_of(pod)))?;
    let data = universe.pd.disks.get(&disk.id)?;
    Some((data.ensemble, data.member))
}

fn returning_members(universe: &Universe, index: usize, apart: u64) -> usize {
    let pods = universe.kube.list("Pod").filter(|pod| !is_deleting(pod));
    let members = pods.filter_map(|pod| returning(universe, pod));
    members.filter(|(of, member)| *of == index && *member != apart).count()
}

/// Stores that serve, have everything and are not on their way out, one apart.
pub(super) fn well_stores(
    universe: &Universe,
    ensemble: &Ensemble,
    apart: Option<u64>,
) -> Vec<u64> {
    serving(universe, ensemble, apart, true)
}

/// Stores that serve and are not on their way out, one apart, whether they have everything yet or
/// not: one that was just made has nothing.
pub(super) fn present_stores(
    universe: &Universe,
    ensemble: &Ensemble,
    apart: Option<u64>,
) -> Vec<u64> {
    serving(universe, ensemble, apart, false)
}

fn serving(
    universe: &Universe,
    ensemble: &Ensemble,
    apart: Option<u64>,
    complete: bool,
) -> Vec<u64> {
    let well = universe.tikv.processes.iter().filter_map(|(uid, process)| {
        let Stage::Serving { store, .. } = process.stage else { return None };
        let data = universe.tikv.disks.get(&process.disk)?;
        let known = ensemble.cluster.stores.get(&store)?;
        let well = Some(data.cluster_id) == ensemble.cluster_id
            && known.state != StoreState::Tombstone
            && (!complete || universe.now >= process.caught_up_at)
            && Some(store) != apart
            && universe.kube.pod_by_uid(uid).is_some_and(|pod| !is_deleting(pod));
        well.then_some(store)
    });
    well.collect()
}

/// Members that serve and are not on their way out, one apart.
pub(super) fn well_members(universe: &Universe, index: usize, apart: u64) -> usize {
    let Some(ensemble) = universe.pd.ensembles.get(index) else { return 0 };
    let well = universe.pd.processes.iter().filter(|(uid, process)| {
        let data = universe.pd.disks.get(&process.disk);
        data.is_some_and(|data| {
            data.ensemble == index
                && data.member != apart
                && ensemble.members.contains_key(&data.member)
        }) && universe.pd.is_open(uid)
            && universe.kube.pod_by_uid(uid).is_some_and(|pod| !is_deleting(pod))
    });
    well.count()
}

/// The pod is back and its member serves; or the member was removed for good.
fn is_over(gone: &Disrupted, universe: &Universe) -> bool {
    if universe.kube.get("TikvCluster", &gone.cluster).is_none_or(is_deleting) {
        return true;
    }
    let Some(ensemble) = universe.pd.ensembles.get(gone.ensemble) else { return true };
    let removed = if gone.pod.contains("-tikv-") {
        let store = ensemble.cluster.stores.get(&gone.id);
        store.is_none_or(|store| store.state == StoreState::Tombstone)
    } else {
        !ensemble.members.contains_key(&gone.id)
    };
    let pod = universe.kube.get("Pod", &gone.pod).filter(|pod| uid_of(pod) != gone.uid);
    removed
        || pod.is_some_and(|pod| !is_deleting(pod) && member_in(universe, uid_of(pod)).is_some())
}

/// Somewhere in the spec the component, or everything, is to be stopped.
pub(super) fn is_suspended(resource: &Object, component: &str) -> bool {
    let stops = |pointer: &str| at(resource, pointer).as_bool() == Some(true);
    stops("/spec/suspendAction/suspendStatefulSet")
        || stops(&format!("/spec/{component}/suspendAction/suspendStatefulSet"))
}
