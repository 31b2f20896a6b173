//! Was anything removed for good that may still be needed, or without a trace of the intent?

use super::disruption::{present_stores, well_members};
use super::loss::pod_of;
use super::{Auditor, may_delete_volumes};
use crate::beliefs;
use crate::kube::{Object, at, is_deleting, name_of, text};
use crate::operator::Write;
use crate::pd::{Ensemble, Store, StoreState};
use crate::universe::Universe;

const GOOD: &str = "I1 nothing is removed for good that may still be needed";
const INTENT: &str = "I1 the intent is on the volume before the effect";
const STORES: &str = "I3 never fewer stores than max-replicas";
pub(super) const VOTERS: &str = "I3 never fewer PD voters than a majority";
const ROOM: &str = "F65 the others have room for what a leaving store holds";
const LEADER: &str = "scenario 53: PD's leader is removed after its leadership was moved";
const SERVED: &str = "scenario 53: a PD member leaves the client Service before it is removed";
const EXTRAS: &str = "I3 no more replacements than the limit";

/// Stores whose machine lost its power so lately that neither PD nor Kubernetes can have missed them.
fn not_missed_yet(universe: &Universe, ensemble: &Ensemble, apart: u64) -> Vec<u64> {
    let lately = |store: &&Store| {
        let silence = store.heartbeat.map(|heard| universe.now.saturating_sub(heard));
        silence.is_some_and(|silence| silence <= beliefs::DISCONNECTED_AFTER.value)
    };
    let without_power = |store: &&Store| {
        let pod = universe.kube.get("Pod", pod_of(store)).filter(|pod| !is_deleting(pod));
        let node = pod.and_then(|pod| universe.nodes.machines.get(text(pod, "/spec/nodeName")));
        node.is_some_and(|node| !node.up)
    };
    let stores = ensemble.cluster.stores.values().filter(|store| store.id != apart);
    stores.filter(lately).filter(without_power).map(|store| store.id).collect()
}

/// What a volume says that is retired and may not be deleted: nobody watched the removal.
const EVIDENCE: &str = "unproven";

/// `maxFailoverCount` where the spec says nothing.
const DEFAULT_LIMIT: u64 = 3;

impl Auditor {
    /// After this call PD moves the store's regions away: the others must be able to hold them.
    pub(super) fn judge_offline(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Ok(store) = write.key.name.parse::<u64>() else { return };
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let known = ensemble.cluster.stores.get(&store);
        let Some(known) = known.filter(|known| known.state != StoreState::Tombstone) else {
            return;
        };
        let up =
            |id: &u64| ensemble.cluster.stores.get(id).is_some_and(|s| s.state == StoreState::Up);
        let mut others = present_stores(universe, ensemble, Some(store));
        others.extend(not_missed_yet(universe, ensemble, store));
        let left = others.iter().filter(|id| up(id)).count();
        let needed = ensemble.cluster.max_replicas as usize;
        if left < needed {
            let what = format!("{}: {left} stores are left, {needed} are needed", write.key);
            self.find(STORES, what);
        }
        let used = |id: u64| ensemble.cluster.stores.get(&id).map_or(0, |s| s.used);
        let room: u64 =
            others.iter().filter(|id| up(id)).map(|id| ensemble.cluster.free(*id)).sum();
        if used(store) > room {
            let what =
                format!("{}: {} GiB have to go where {room} are free", write.key, used(store));
            self.find(ROOM, what);
        }
        self.judge_intent(universe, cluster, ("store-id", "leaving"), write);
        self.judge_nameless(universe, pod_of(known), write);
    }

    /// A store that no volume names is taken offline only where none could: its disk is gone, or is
    /// kept for the store that was there before it.
    fn judge_nameless(&mut self, universe: &Universe, pod: &str, write: &Write) {
        let claim = format!("tikv-{pod}");
        let claim = universe.kube.get("PersistentVolumeClaim", &claim);
        let Some(claim) = claim.filter(|claim| !is_deleting(claim)) else { return };
        if note(claim, "store-id") != write.key.name && note(claim, "retired").is_empty() {
            self.find(INTENT, format!("{}: {} does not name it", write.key, name_of(claim)));
        }
    }

    /// The volume of the store or member that a call is about carries the mark.
    pub(super) fn judge_intent(
        &mut self,
        universe: &Universe,
        cluster: &str,
        (of, mark): (&str, &str),
        write: &Write,
    ) {
        let mut claims = universe.kube.list("PersistentVolumeClaim").filter(|claim| {
            let main = at(claim, "/metadata/labels/tikv.org~1volume").is_null();
            let names = note(claim, of) == write.key.name;
            main && names && belongs(claim, cluster) && !is_deleting(claim)
        });
        if let Some(claim) = claims.find(|claim| note(claim, mark).is_empty()) {
            let what = format!("{}: {} does not say {mark}", write.key, name_of(claim));
            self.find(INTENT, what);
        }
    }

    /// After the call: the members that are left must have a majority that serves.
    pub(super) fn judge_removed_member(
        &mut self,
        universe: &Universe,
        cluster: &str,
        write: &Write,
    ) {
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let well = well_members(universe, index, 0);
        if well < ensemble.quorum() {
            let all = ensemble.members.len();
            self.find(VOTERS, format!("{}: {well} of {all} members serve", write.key));
        }
        let id = write.key.name.parse().ok();
        if id.is_some() && self.leaders.get(&index).copied() == id && ensemble.members.len() > 1 {
            self.find(LEADER, write.key.to_string());
        }
        let claims = universe.kube.list("PersistentVolumeClaim");
        let of = claims.filter(|claim| note(claim, "member-id") == write.key.name);
        for pod in of.map(|claim| name_of(claim).trim_start_matches("pd-")) {
            let pod = universe.kube.get("Pod", pod).filter(|pod| !is_deleting(pod));
            let served =
                pod.is_some_and(|p| !at(p, "/metadata/labels/tikv.org~1serving").is_null());
            if served {
                self.find(SERVED, write.key.to_string());
            }
        }
        self.judge_intent(universe, cluster, ("member-id", "leaving"), write);
    }

    /// A volume that is marked retired is never mounted again: that is final.
    pub(super) fn judge_claim(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(after) = write.after.as_deref() else { return };
        self.judge_growth(universe, cluster, write);
        let was = write.before.as_deref().is_some_and(|before| !note(before, "retired").is_empty());
        if !was && !note(after, "retired").is_empty() {
            self.note_retired(after);
        }
        if !was
            && !note(after, "retired").is_empty()
            && let Some(why) = needed(universe, cluster, after, &self.users_tombstones)
        {
            self.find(GOOD, format!("{} was retired: {why}", write.key));
        }
        if write.before.is_none() {
            self.judge_new_volume(universe, cluster, after);
            if !note(after, "replaces-store").is_empty() {
                self.judge_replacement(universe, cluster, after);
                self.judge_need(universe, cluster, after);
            }
        } else {
            self.judge_marks(universe, cluster, write);
        }
    }

    /// A mark that was taken off, or one that is new.
    fn judge_marks(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let (Some(before), Some(after)) = (write.before.as_deref(), write.after.as_deref()) else {
            return;
        };
        let (was, is) = (note(before, "leaving"), note(after, "leaving"));
        let tikv = text(after, "/metadata/labels/app.kubernetes.io~1component") == "tikv";
        if was.is_empty() && !is.is_empty() && !is.ends_with(" replaced") && tikv {
            self.judge_new_leaver(universe, cluster, write);
            self.judge_grace(universe, after);
        }
        if note(before, "evicting").is_empty() && note(after, "evicting") == "restart" {
            self.judge_begun(universe, cluster, write);
        }
        let ensemble =
            universe.cluster_of(cluster).and_then(|index| universe.pd.ensembles.get(index));
        let store: Option<u64> = note(after, "store-id").parse().ok();
        let (Some(ensemble), Some(id)) = (ensemble, store) else { return };
        let offline =
            ensemble.cluster.stores.get(&id).is_some_and(|s| s.state == StoreState::Offline);
        if !was.is_empty() && is.is_empty() && offline {
            self.find(INTENT, format!("{} does not say leaving any more", write.key));
        }
        let ours = !note(before, "evicting").is_empty() && note(after, "evicting").is_empty();
        let users = self.users_evictions.contains(&(cluster.to_owned(), id));
        if ours && ensemble.cluster.evicting.contains(&id) && !users {
            self.find(INTENT, format!("{} does not say evicting any more", write.key));
        }
    }

    fn judge_replacement(&mut self, universe: &Universe, cluster: &str, new: &Object) {
        let spec = universe.spec_in_force(cluster);
        let stores =
            universe.cluster_of(cluster).and_then(|index| universe.pd.ensembles.get(index));
        let gone = |id: &str| {
            let store = id.parse().ok().and_then(|id: u64| stores?.cluster.stores.get(&id));
            store.is_none_or(|store| store.state == StoreState::Tombstone)
        };
        let claims = universe.kube.list("PersistentVolumeClaim");
        let open = claims.filter(|claim| {
            let replaces = note(claim, "replaces-store");
            belongs(claim, cluster)
                && !replaces.is_empty()
                && note(claim, "retired").is_empty()
                && !gone(replaces)
                // An additional volume carries its main one's marks.
                && at(claim, "/metadata/labels/tikv.org~1volume").is_null()
        });
        let replaced: Vec<&str> = open.map(|claim| note(claim, "replaces-store")).collect();
        let same = replaced.iter().filter(|id| **id == note(new, "replaces-store")).count();
        if same > 1 {
            let what = format!(
                "{} is the second one of store {}",
                name_of(new),
                note(new, "replaces-store")
            );
            self.find(EXTRAS, what);
        }
        let limit = [at(spec, "/tikv/failover/max"), at(spec, "/tikv/maxFailoverCount")];
        let limit = limit.iter().find_map(|limit| limit.as_u64()).unwrap_or(DEFAULT_LIMIT);
        if replaced.len() as u64 > limit {
            self.find(EXTRAS, format!("{}: {} of {limit}", name_of(new), replaced.len()));
        }
    }

    pub(super) fn judge_lost_volume(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let resource = universe.kube.get("TikvCluster", cluster);
        let policy = resource.is_some_and(may_delete_volumes);
        if policy && resource.is_some_and(is_deleting) {
            return;
        }
        let Some(claim) = write.before.as_deref() else { return };
        self.judge_quarantine(universe, cluster, claim);
        let retired = !note(claim, "retired").is_empty();
        let why = if !retired {
            Some("it was not retired".to_owned())
        } else if note(claim, "retired") == EVIDENCE {
            Some("it was kept as evidence".to_owned())
        } else if !policy {
            Some("the policy keeps volumes".to_owned())
        } else {
            needed(universe, cluster, claim, &self.users_tombstones)
        };
        if let Some(why) = why {
            self.find(GOOD, format!("{} was deleted: {why}", write.key));
        }
    }
}

/// Why what is on a volume may still be needed; `None` where its member was removed by us and has
/// nothing any more.
fn needed(
    universe: &Universe,
    cluster: &str,
    claim: &Object,
    users: &std::collections::BTreeSet<super::Named>,
) -> Option<String> {
    let ensemble = universe.cluster_of(cluster).and_then(|index| universe.pd.ensembles.get(index));
    let Some(ensemble) = ensemble else { return Some("no PD is known".to_owned()) };
    if let Ok(member) = note(claim, "member-id").parse::<u64>() {
        if ensemble.members.contains_key(&member) {
            return Some(format!("PD lists member {member}"));
        }
        // The leader that answers may have been made by hand of one member's data.
        let lists = |other: &&crate::pd::Ensemble| {
            other.cluster_id == ensemble.cluster_id && other.members.contains_key(&member)
        };
        let other = universe.pd.ensembles.iter().find(lists);
        return other.map(|_| format!("those that were left behind list member {member}"));
    }
    let Ok(store) = note(claim, "store-id").parse::<u64>() else {
        let pod = name_of(claim).split_once('-').map_or("", |(_, pod)| pod);
        let at = |s: &&crate::pd::Store| s.address.starts_with(&format!("{pod}."));
        let live = ensemble.cluster.stores.values().filter(|s| s.state != StoreState::Tombstone);
        return live.into_iter().find(at).map(|s| format!("store {} runs on it", s.id));
    };
    if ensemble.unsafe_recovery {
        return Some("an unsafe recovery is going on".to_owned());
    }
    if universe.now.saturating_sub(ensemble.leader_since) < 55 * crate::clock::SECOND {
        return Some("PD's leader is new".to_owned());
    }
    // What is kept as evidence is neither mounted nor deleted.
    if users.contains(&(cluster.to_owned(), store)) && note(claim, "retired") != EVIDENCE {
        return Some(format!("store {store} was given up by a user, not by us"));
    }
    let known = ensemble.cluster.stores.get(&store)?;
    if known.state != StoreState::Tombstone {
        return Some(format!("store {store} is no tombstone"));
    }
    let region = ensemble.cluster.regions.iter().find(|region| region.peers.contains_key(&store));
    region.map(|region| format!("region {} has a replica on store {store}", region.id))
}

/// The claim carries the cluster's label.
pub(super) fn belongs(claim: &Object, cluster: &str) -> bool {
    text(claim, "/metadata/labels/tikv.org~1cluster") == cluster
}

/// An annotation of ours.
pub(super) fn note<'a>(claim: &'a Object, name: &str) -> &'a str {
    let mut notes = at(claim, "/metadata/annotations").as_object().into_iter().flatten();
    let note = notes.find(|(key, _)| key.strip_prefix("tikv.org/") == Some(name));
    note.and_then(|(_, value)| value.as_str()).unwrap_or_default()
}
