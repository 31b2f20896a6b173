//! May the operator have made this write?

use super::Auditor;
use super::removal::note;
use crate::clock::SECOND;
use crate::kube::{Object, Verb, at, is_deleting, name_of, text, uid_of};
use crate::operator::Write;
use crate::pd::StoreState;
use crate::universe::Universe;

const OURS: &str = "I6 only what is ours is touched, by uid";
const HOT: &str = "F20 what others change back is not applied again and again";
/// So many writes that change nothing in so much time are no accident.
const FIGHT: (usize, u64) = (10, 10 * 60 * SECOND);
const GOING: &str = "F25 nothing is made for a resource that is being deleted";
/// Whatever claim comes to be under that name is mounted.
const FIRST: &str = "F19 a pod is made when its volumes are there";
const RETIRED: &str = "I1 a retired volume is never mounted again";

impl Auditor {
    pub(super) fn judge_write(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        if write.key.kind != "TikvCluster" {
            self.judge_pause(universe, cluster, write);
            self.judge_mistaken(universe, cluster, write);
        }
        if write.verb == Verb::Call {
            self.judge_call(universe, cluster, write);
            return;
        }
        if write.verb != Verb::Create && write.uid.is_none() {
            let what = format!("{} of {} carries no uid", write.verb.as_str(), write.key);
            self.find(OURS, what);
        }
        let uid = self.uids.get(cluster).cloned().unwrap_or_default();
        if write.key.kind == "TikvCluster" {
            self.judge_resource(cluster, write);
            self.judge_decision(universe, write);
            return;
        }
        let touched = write.before.as_deref().or(write.after.as_deref());
        if let Some(object) = touched {
            self.judge_owner(universe, (object, cluster, &uid), write);
        }
        self.judge_idle_write(write);
        let going = universe.kube.get("TikvCluster", cluster).is_some_and(is_deleting);
        if going && write.verb == Verb::Create {
            self.find(GOING, write.key.to_string());
        }
        match (write.verb, write.key.kind.as_str()) {
            (Verb::Create, "Pod") => self.judge_new_pod(universe, cluster, &uid, write),
            (Verb::Delete, "Pod") => {
                self.judge_lost_pod(universe, cluster, write);
                self.judge_turn(universe, cluster, write);
                self.note_taken(write);
            }
            (Verb::Delete, "PersistentVolumeClaim") => {
                self.judge_lost_volume(universe, cluster, write);
            }
            (Verb::Create | Verb::Apply, "PersistentVolumeClaim") => {
                self.judge_claim(universe, cluster, write);
            }
            _ => {}
        }
    }

    /// What is applied and changes nothing is somebody else's to keep: often is a fight.
    fn judge_idle_write(&mut self, write: &Write) {
        if write.verb != Verb::Apply || write.before != write.after {
            return;
        }
        let now = self.now;
        let times = self.idle_writes.entry(write.key.to_string()).or_default();
        times.retain(|at| now - *at < FIGHT.1);
        times.push(now);
        if times.len() > FIGHT.0 {
            self.find(HOT, write.key.to_string());
        }
    }

    /// A call to PD or to a store.
    fn judge_call(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        match write.key.kind.as_str() {
            "OfflineStore" => {
                self.judge_offline(universe, cluster, write);
                self.judge_given_up(universe, cluster, write);
            }
            "RemovePdMember" => {
                self.judge_removed_member(universe, cluster, write);
                self.judge_lost_member_removed(universe, cluster, write);
            }
            "KeepStore" => self.judge_kept(cluster, write),
            "SetPdConfig" => self.judge_setting(universe, cluster, write),
            "TransferPdLeader" => self.judge_transfer(universe, cluster, write),
            "EvictLeaders" => {
                self.judge_intent(universe, cluster, ("store-id", "evicting"), write);
            }
            "StopEvicting" => self.judge_end_of_eviction(universe, cluster, write),
            _ => {}
        }
    }

    /// The id in status is written once and is true.
    fn judge_resource(&mut self, cluster: &str, write: &Write) {
        let Some(after) = write.after.as_deref() else { return };
        self.note_announcement(after);
        let id = text(after, "/status/clusterId").to_owned();
        let before = write.before.as_deref().map_or("", |b| text(b, "/status/clusterId"));
        let seen = self.seen.entry(uid_of(after).to_owned()).or_default();
        let earlier = seen.recorded.clone();
        if !id.is_empty() {
            seen.recorded = Some(id.clone());
        }
        // A user may have wiped the status; the operator may not.
        let changed = !id.is_empty() && earlier.is_some_and(|earlier| earlier != id);
        if changed || (id.is_empty() && !before.is_empty()) {
            self.find(super::ONE, format!("status of {cluster} says {id:?} now"));
        }
    }

    /// Pods and furniture belong by owner uid, volumes by label and by the uid written on them.
    fn judge_owner(
        &mut self,
        universe: &Universe,
        (object, cluster, uid): (&Object, &str, &str),
        write: &Write,
    ) {
        let ours = if write.key.kind == "PersistentVolumeClaim" {
            let labelled = text(object, "/metadata/labels/tikv.org~1cluster") == cluster;
            let marked = text(object, "/metadata/annotations/tikv.org~1resource-uid");
            // A retained volume still names the resource that made it, until it is marked anew.
            let named = !marked.is_empty() && (write.verb != Verb::Delete || marked == uid);
            let given = write.verb == Verb::Apply && was_given(universe, cluster, object);
            labelled && (named || given)
        } else {
            object.owners().iter().any(|owner| owner == uid)
        };
        if !ours {
            let what = format!("{} of {}, which is not ours", write.verb.as_str(), write.key);
            self.find(OURS, what);
        }
    }

    fn judge_new_pod(&mut self, universe: &Universe, cluster: &str, uid: &str, write: &Write) {
        let Some(pod) = write.after.as_deref() else { return };
        let recorded = self.seen.get(uid).is_some_and(|seen| seen.recorded.is_some());
        if name_of(pod).contains("-tikv-") && !recorded {
            let what = format!("{} was made before it", write.key);
            self.find("the cluster id is recorded before the first store", what);
        }
        self.judge_start(universe, cluster, pod);
        self.judge_gated_pod(universe, cluster, write);
        self.judge_format(universe, cluster, pod);
        for volume in at(pod, "/spec/volumes").as_array().into_iter().flatten() {
            let claim = text(volume, "/persistentVolumeClaim/claimName");
            let Some(claim) = universe.kube.get("PersistentVolumeClaim", claim) else {
                if claim.ends_with(name_of(pod)) {
                    self.find(FIRST, format!("{} was made before {claim}", write.key));
                }
                continue;
            };
            if is_deleting(claim) && name_of(claim).ends_with(name_of(pod)) {
                self.find(
                    FIRST,
                    format!("{} was made on {}, which goes", write.key, name_of(claim)),
                );
            }
            if text(claim, "/metadata/labels/tikv.org~1cluster") != cluster {
                let what = format!("{} mounts {}", write.key, name_of(claim));
                self.find("F19 a foreign volume is never mounted", what);
            }
            self.judge_fence(universe, pod, claim);
            if note(claim, "resource-uid").is_empty() {
                let what =
                    format!("{} mounts {}, of which nobody knows", write.key, name_of(claim));
                self.find("F19 a foreign volume is never mounted", what);
            }
            if !note(claim, "retired").is_empty() || self.was_removed(universe, cluster, claim) {
                let what = format!("{} mounts {}", write.key, name_of(claim));
                self.find(RETIRED, what);
            }
        }
    }
}

/// A person wrote on a claim of another operator's that it is ours: our label, and the cluster id that
/// this cluster's PD really has (docs/adoption.md).
fn was_given(universe: &Universe, cluster: &str, claim: &Object) -> bool {
    let id: Option<u64> = note(claim, "cluster-id").parse().ok();
    let first = format!("{cluster}-pd-");
    let mut ensembles = universe.pd.ensembles.iter().filter(|e| id.is_some() && e.cluster_id == id);
    let unused = note(claim, "resource-uid").is_empty();
    unused && ensembles.any(|e| e.members.values().any(|m| m.name.starts_with(&first)))
}

impl Auditor {
    /// The member or the store on a volume was removed from PD for good, before this pass.
    fn was_removed(&self, universe: &Universe, cluster: &str, claim: &Object) -> bool {
        let Some(index) = universe.cluster_of(cluster) else { return false };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return false };
        if let Ok(member) = note(claim, "member-id").parse::<u64>() {
            let until_now = self.silent_since.contains_key(&(index, member));
            return !until_now && !ensemble.members.contains_key(&member);
        }
        let store = note(claim, "store-id").parse::<u64>().ok();
        let store = store.and_then(|id| ensemble.cluster.stores.get(&id));
        store.is_some_and(|store| store.state == StoreState::Tombstone)
    }
}
