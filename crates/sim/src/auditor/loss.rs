//! Was a member given up that is not lost?
//!
//! By the truth: since when no process serves it, what became of its pod, its disk and its machine.

use super::Auditor;
use super::removal::{belongs, note};
use super::truth::{duration, setting};
use crate::beliefs;
use crate::clock::{self, SECOND};
use crate::kube::{Object, at, is_deleting, name_of, text};
use crate::node::OUT_OF_SERVICE;
use crate::operator::Write;
use crate::pd::{Ensemble, Store, StoreState};
use crate::tikv::Stage;
use crate::universe::Universe;

const LOSS: &str = "F59 only what is lost for failover.after is replaced";
const MANY: &str = "F60 nothing is replaced when too many stores are lost at once";
const ZONE: &str = "F61 a zone that is lost as a whole is not refilled";
const BLIND: &str = "F52 nothing is given up on the word of a PD that cannot know";
const STAYS: &str = "I3 a replacement can leave again";
const DOWN: &str =
    "F59 a store is removed for lost only when PD calls it Down or its machine is off";
const READY: &str = "F59 a store is removed for lost only beside a replacement that serves";
const LIMIT: &str = "I3 no more PD members replaced than the limit";

/// `failover.after` where the spec says nothing.
const AFTER: u64 = 600;
/// A new PD leader has heard of everybody after this long.
const SETTLES: u64 = 60 * SECOND;
/// Labels that tell machines apart.
const MACHINES: [&str; 3] = ["host", "hostname", "kubernetes.io/hostname"];

impl Auditor {
    /// Notes since when stores and members do not serve.
    pub(super) fn follow_silence(&mut self, universe: &Universe) {
        let (now, mut silent) = (universe.now, std::collections::BTreeMap::new());
        for (index, ensemble) in universe.pd.ensembles.iter().enumerate() {
            let serving: Vec<u64> =
                ensemble.cluster_id.map_or_else(Vec::new, |id| universe.tikv.serving(id));
            let runs = |member: &u64| {
                universe.pd.processes.iter().any(|(uid, process)| {
                    let data = universe.pd.disks.get(&process.disk);
                    universe.pd.is_open(uid)
                        && data.is_some_and(|d| d.ensemble == index && d.member == *member)
                })
            };
            let stores = ensemble.cluster.stores.keys().filter(|id| !serving.contains(id));
            let members = ensemble.members.keys().filter(|id| !runs(id));
            for id in stores.chain(members) {
                let key = (index, *id);
                silent.insert(key, self.silent_since.get(&key).copied().unwrap_or(now));
            }
        }
        self.silent_since = silent;
    }

    /// How long a store or a member has not served.
    pub(super) fn silence(&self, index: usize, id: u64) -> u64 {
        self.silent_since.get(&(index, id)).map_or(0, |since| self.now.saturating_sub(*since))
    }

    /// A volume was made for a replacement: what it replaces must be lost, and alone.
    pub(super) fn judge_need(&mut self, universe: &Universe, cluster: &str, new: &Object) {
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let Ok(id) = note(new, "replaces-store").parse::<u64>() else { return };
        let Some(store) = ensemble.cluster.stores.get(&id) else { return };
        let what = format!("{} for store {id}", name_of(new));
        let after = duration(setting(universe, cluster, "tikv", "/failover/after"), AFTER);
        if self.silence(index, id) < after {
            self.find(LOSS, format!("{what}: away for {} s", self.silence(index, id) / SECOND));
        }
        if let Some(why) = merely_waits(universe, pod_of(store), after) {
            self.find(LOSS, format!("{what}: {why}"));
        }
        self.judge_outage(universe, (index, id), &what);
        self.judge_word(universe, ensemble, &what);
        self.judge_blame(universe, store, &what);
        let stays = |store: &&Store| store.state == StoreState::Up;
        let stores = ensemble.cluster.stores.values().filter(stays).count();
        if stores < ensemble.cluster.max_replicas as usize {
            self.find(STAYS, format!("{what}: {stores} stores, max-replicas more"));
        }
    }

    /// Too many failure domains, or a whole zone.
    fn judge_outage(&mut self, universe: &Universe, (index, id): (usize, u64), what: &str) {
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let cluster = &ensemble.cluster;
        let live: Vec<&Store> =
            cluster.stores.values().filter(|s| s.state != StoreState::Tombstone).collect();
        let away: Vec<&Store> = live
            .iter()
            .copied()
            .filter(|s| self.silence(index, s.id) > beliefs::DISCONNECTED_AFTER.value + 30 * SECOND)
            .collect();
        // Stores fail one by one, unless a label has a place for every replica.
        let replicas = cluster.max_replicas as usize;
        let values = |label: &str, of: &[&Store]| {
            let mut values: Vec<String> =
                of.iter().filter_map(|s| s.labels.get(label).cloned()).collect();
            values.sort();
            values.dedup();
            values
        };
        let label =
            cluster.location_labels.iter().find(|label| values(label, &live).len() >= replicas);
        let lost = label.map_or(away.len(), |label| values(label, &away).len());
        if lost > (replicas.saturating_sub(1)) / 2 {
            self.find(MANY, format!("{what}: {lost} failure domains are away"));
        }
        let Some(zone) =
            cluster.location_labels.first().filter(|l| !MACHINES.contains(&l.as_str()))
        else {
            return;
        };
        let Some(value) = cluster.stores.get(&id).and_then(|s| s.labels.get(zone)) else { return };
        let there = |store: &&&Store| store.labels.get(zone) == Some(value);
        let all = live.iter().filter(there).count();
        if all > 1 && away.iter().filter(there).count() == all {
            self.find(ZONE, format!("{what}: all of {zone}={value} is away"));
        }
    }

    /// PD's leader must have had time to hear everybody, and no recovery may go on.
    fn judge_word(&mut self, universe: &Universe, ensemble: &Ensemble, what: &str) {
        if ensemble.unsafe_recovery {
            self.find(BLIND, format!("{what}: during an unsafe recovery"));
        }
        let new = universe.now.saturating_sub(ensemble.leader_since) < SETTLES;
        if ensemble.leader.is_none() || new {
            self.find(BLIND, format!("{what}: PD's leader is new, or there is none"));
        }
    }

    /// PD was told to remove a store because it is lost.
    pub(super) fn judge_given_up(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Ok(id) = write.key.name.parse::<u64>() else { return };
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let Some(store) = ensemble.cluster.stores.get(&id) else { return };
        let claim = universe.kube.get("PersistentVolumeClaim", &format!("tikv-{}", pod_of(store)));
        if claim.is_some_and(|claim| !note(claim, "leaving").ends_with(" replaced")) {
            return;
        }
        let what = write.key.to_string();
        let unheard = store.heartbeat.map_or(u64::MAX, |at| universe.now.saturating_sub(at));
        if unheard <= ensemble.cluster.max_down && !is_off(universe, pod_of(store)) {
            self.find(DOWN, format!("{what}: heard {} s ago", unheard / SECOND));
        }
        let serving = ensemble.cluster_id.map_or_else(Vec::new, |id| universe.tikv.serving(id));
        let mut claims = universe.kube.list("PersistentVolumeClaim").filter(|claim| {
            belongs(claim, cluster) && note(claim, "replaces-store") == write.key.name
        });
        let stands_in = claims.any(|claim| {
            let by = note(claim, "store-id").parse().ok();
            by.is_some_and(|by: u64| serving.contains(&by))
        });
        if !stands_in {
            self.find(READY, what.clone());
        }
        self.judge_outage(universe, (index, id), &what);
        self.judge_word(universe, ensemble, &what);
    }

    /// A PD member was removed because it is lost.
    pub(super) fn judge_lost_member_removed(
        &mut self,
        universe: &Universe,
        cluster: &str,
        write: &Write,
    ) {
        let Ok(id) = write.key.name.parse::<u64>() else { return };
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let replaced = |claim: &&Object| {
            belongs(claim, cluster)
                && note(claim, "leaving").ends_with(" replaced")
                && text(claim, "/metadata/labels/app.kubernetes.io~1component") == "pd"
        };
        let claims: Vec<&Object> =
            universe.kube.list("PersistentVolumeClaim").filter(replaced).collect();
        let Some(claim) = claims.iter().find(|c| note(c, "member-id") == write.key.name) else {
            return;
        };
        let what = write.key.to_string();
        let after = duration(setting(universe, cluster, "pd", "/failover/after"), AFTER);
        // It is no member any more, and is noted as silent until the next second.
        if self.silence(index, id) < after {
            self.find(LOSS, format!("{what}: away for {} s", self.silence(index, id) / SECOND));
        }
        let pod = name_of(claim).trim_start_matches("pd-");
        if let Some(why) = merely_waits(universe, pod, after) {
            self.find(LOSS, format!("{what}: {why}"));
        }
        self.judge_word(universe, ensemble, &what);
        let limit = setting(universe, cluster, "pd", "/maxFailoverCount").as_u64().unwrap_or(3);
        if claims.len() as u64 > limit {
            self.find(LIMIT, format!("{what}: {} of {limit}", claims.len()));
        }
    }
}

/// Name of the pod at a store's address.
pub(super) fn pod_of(store: &Store) -> &str {
    store.address.split('.').next().unwrap_or_default()
}

/// Why a member is not lost: its pod waits for a place or an image, is not made, or was started for
/// the first time less than `after` ago, and its disk is on a machine that is there.
fn merely_waits(universe: &Universe, pod: &str, after: u64) -> Option<&'static str> {
    let component = if pod.contains("-pd-") { "pd" } else { "tikv" };
    let disk = universe.nodes.disk_of_claim(&format!("{component}-{pod}"))?;
    let machine = universe.nodes.machines.get(&disk.node)?;
    let kept =
        universe.tikv.disks.contains_key(&disk.id) || universe.pd.disks.contains_key(&disk.id);
    if !machine.up || !kept || universe.kube.get("Node", &disk.node).is_none() {
        return None;
    }
    let main = universe.kube.get("PersistentVolumeClaim", &format!("{component}-{pod}"))?;
    let mut extra = note(main, "extra-volumes").split(',').filter(|name| !name.is_empty());
    let gone = |volume: &str| {
        let claim = format!("{component}-{volume}-{pod}");
        universe.kube.get("PersistentVolumeClaim", &claim).is_none()
    };
    if extra.any(gone) {
        return None;
    }
    let Some(found) = universe.kube.get("Pod", pod) else { return Some("its pod is not made yet") };
    // Kubelet has not said anything of a pod that is not bound yet.
    if is_deleting(found) {
        return None;
    }
    if matches!(text(found, "/status/phase"), "" | "Pending") {
        return Some("its pod waits for a place or an image");
    }
    let container = at(found, "/status/containerStatuses/0");
    let since = text(container, "/state/running/startedAt");
    let new = at(container, "/restartCount").as_u64() == Some(0)
        && clock::rfc3339(universe.now.saturating_sub(after)).as_str() < since;
    new.then_some("its pod was just started for the first time")
}

/// The machine that the store's disk is on is deleted or tainted out of service.
fn is_off(universe: &Universe, pod: &str) -> bool {
    let Some(disk) = universe.nodes.disk_of_claim(&format!("tikv-{pod}")) else { return true };
    let Some(node) = universe.kube.get("Node", &disk.node) else { return true };
    let taints = at(node, "/spec/taints").as_array().into_iter().flatten();
    taints.into_iter().any(|taint| text(taint, "/key") == OUT_OF_SERVICE)
}

/// The store that a pod's process serves.
pub(super) fn served(universe: &Universe, uid: &str) -> Option<u64> {
    let process = universe.tikv.processes.get(uid)?;
    match process.stage {
        Stage::Serving { store, .. } => Some(store),
        Stage::Starting { .. } => None,
    }
}
