//! Did the operator wait where it promises to?
//!
//! A cluster that is paused, a volume in its quarantine, a size that is not reached yet: nothing of
//! this costs data at once, so no other check sees it. By the spec and by the truth; what the operator
//! says that it waits for is not read.

use tikv_operator_core::facts::bytes;
use tikv_operator_core::plan::Step;

use super::Auditor;
use super::disruption::is_suspended;
use super::loss::pod_of;
use super::order::{generation, main_claims};
use super::removal::{belongs, note};
use super::truth::{duration, setting};
use super::wishes::is_unknown;
use crate::clock::{self, SECOND};
use crate::kube::{Object, Verb, at, is_deleting, name_of, text, uid_of};
use crate::operator::{Pass, Write};
use crate::pd::{Ensemble, Store, StoreState};
use crate::universe::Universe;

const PAUSED: &str = "scenario 15: nothing of a paused cluster is changed but what is half done";
const KEPT: &str = "F59 the volume of what was given up is kept for failover.quarantine";
const TRIED: &str = "no pod is taken down for one that the API server does not take";
const SIZE: &str = "scenario 36: members leave before others are restarted";
const BACK: &str = "scenario 32: no store is restarted before the one before leads again";
const GRACE: &str = "scenario 47: what never registered a store is given a minute";
const HALF: &str = "scenario 16: what is half done ends before a component stops";
const GROWTH: &str = "scenario 82: volumes grow one at a time";
const ASKED: &str = "scenario 85: a refused growth is not asked for again and again";
const GONE: &str = "F38 a name is used again when what bore it is gone";
const ONE: &str = "I2 one disruptive step in a pass";
const FIRST: &str = "scenario 3: no first PD pod is made before the volumes of all first members";

/// `failover.quarantine` where the spec says nothing, in seconds.
const DAY: u64 = 24 * 3600;
/// `waitLeaderTransferBackTimeout` where the spec says nothing, in seconds.
const RETURN: u64 = 400;
/// So long after its return a store may still be waited for.
const RECENT: u64 = 20 * SECOND;
/// A minute, short of what two clocks differ.
const A_MINUTE: u64 = 55 * SECOND;
/// So many refusals in so much time are no accident; the operator may have begun anew in between.
const OFTEN: (usize, u64) = (8, 120 * SECOND);

impl Auditor {
    /// Notes since when each spec is as it is, and since when no pod is taken.
    pub(super) fn follow_edits(&mut self, universe: &Universe) {
        for resource in universe.kube.list("TikvCluster") {
            let (now, generation) = (self.now, generation(resource));
            let known = self.edited.entry(uid_of(resource).to_owned()).or_insert((generation, now));
            if known.0 != generation {
                *known = (generation, now);
            }
        }
        let closed = universe.kube.denied.contains("Pod");
        self.closed_since = closed.then(|| self.closed_since.unwrap_or(self.now));
    }

    /// What a pause finds half done may be ended: nothing else is written.
    pub(super) fn judge_pause(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let paused = at(resource, "/spec/paused").as_bool() == Some(true);
        if !paused || is_deleting(resource) || is_unknown(universe, resource) {
            return;
        }
        if !ends_a_half(universe, write) {
            self.find(PAUSED, format!("{} {}", write.verb.as_str(), write.key));
        }
    }

    /// Notes when a volume was retired.
    pub(super) fn note_retired(&mut self, claim: &Object) {
        self.retired_at.entry(uid_of(claim).to_owned()).or_insert(self.now);
    }

    /// The volume of a member that was given up for dead was deleted.
    pub(super) fn judge_quarantine(&mut self, universe: &Universe, cluster: &str, claim: &Object) {
        let component = text(claim, "/metadata/labels/app.kubernetes.io~1component");
        let pod = name_of(claim).split_once('-').map_or("", |(_, pod)| pod);
        let of = [format!("{component}-{pod}"), name_of(claim).to_owned()];
        let mut mains =
            of.iter().filter_map(|name| universe.kube.get("PersistentVolumeClaim", name));
        let dead = |claim: &Object| note(claim, "leaving").ends_with(" replaced");
        let Some(since) = self.retired_at.get(uid_of(claim)).copied() else { return };
        if !dead(claim) && !mains.any(dead) {
            return;
        }
        let kept = self.now.saturating_sub(since);
        let wanted = duration(setting(universe, cluster, component, "/failover/quarantine"), DAY);
        if kept + SECOND < wanted {
            self.find(KEPT, format!("{} after {} s", name_of(claim), kept / SECOND));
        }
    }

    /// A pod that serves was taken down for an edit that was made while the API server took no pods.
    pub(super) fn judge_trial(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let (Some(pod), Some(closed)) = (write.before.as_deref(), self.closed_since) else {
            return;
        };
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let edited = self.edited.get(uid_of(resource)).map(|(_, since)| *since);
        let old = self.made_of.get(uid_of(pod)).is_some_and(|of| *of != generation(resource));
        // Which edit the spec in force came with is not known while there is a mistake in the last one.
        if universe.in_force.contains_key(cluster) {
            return;
        }
        if old && edited.is_some_and(|edited| closed <= edited) {
            self.find(TRIED, write.key.to_string());
        }
    }

    /// A PD pod was restarted while there are more members than are wanted.
    pub(super) fn judge_pd_size(
        &mut self,
        universe: &Universe,
        (cluster, ensemble): (&str, &Ensemble),
        write: &Write,
    ) {
        let wanted = setting(universe, cluster, "pd", "/replicas").as_u64().unwrap_or(3);
        let members = ensemble.members.len() as u64;
        if members > wanted {
            self.find(SIZE, format!("{}: {members} members, {wanted} are wanted", write.key));
        }
    }

    /// The restart of a store begins: no other store is about to leave or without its leaders.
    pub(super) fn judge_begun(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let own: Option<u64> =
            write.after.as_deref().and_then(|claim| note(claim, "store-id").parse().ok());
        self.judge_store_size(universe, (cluster, ensemble), write);
        let may_lead = |store: &&Store| {
            store.state == StoreState::Up && !self.evicted_since.contains_key(&(index, store.id))
        };
        let may_lead = ensemble.cluster.stores.values().filter(may_lead).count();
        let share = ensemble.cluster.regions.len().checked_div(may_lead).unwrap_or_default();
        let patience =
            duration(setting(universe, cluster, "tikv", "/waitLeaderTransferBackTimeout"), RETURN);
        let recent = |since: u64| self.now.saturating_sub(since) < RECENT.min(patience);
        let back = self.back.iter().filter(|((of, _), since)| *of == index && recent(**since));
        let leads =
            |id: u64| ensemble.cluster.regions.iter().filter(|r| r.leader == Some(id)).count();
        let users = |id: u64| self.users_evictions.contains(&(cluster.to_owned(), id));
        let mut back = back.map(|((_, id), _)| *id).filter(|id| Some(*id) != own && !users(*id));
        if let Some(id) = back.find(|id| (leads(*id) + 1) * 3 < share * 2) {
            let what = format!("{}: store {id} leads {} of {share}", write.key, leads(id));
            self.find(BACK, what);
        }
    }

    fn judge_store_size(
        &mut self,
        universe: &Universe,
        (cluster, ensemble): (&str, &Ensemble),
        write: &Write,
    ) {
        let wanted = setting(universe, cluster, "tikv", "/replicas").as_u64().unwrap_or(3);
        // Of what is written in the same pass neither came first.
        let before = clock::rfc3339(universe.now.saturating_sub(SECOND));
        let live = |store: &&Store| store.state != StoreState::Tombstone;
        let live = ensemble.cluster.stores.values().filter(live).count() as u64;
        let mut leaving = main_claims(universe, cluster, "tikv").filter(|claim| {
            let id: Option<u64> = note(claim, "store-id").parse().ok();
            let store = id.and_then(|id| ensemble.cluster.stores.get(&id));
            let why = note(claim, "leaving");
            store.is_some_and(|store| store.state != StoreState::Tombstone)
                && name_of(claim) != write.key.name
                && why.split(' ').next().is_some_and(|since| !since.is_empty() && *since < *before)
                && !why.ends_with(" replaced")
        });
        if let Some(other) = leaving.next().filter(|_| live > wanted) {
            self.find(SIZE, format!("{} while {} leaves", write.key, name_of(other)));
        }
    }

    /// A volume without a store says now that its member leaves: its pod was there for a minute.
    pub(super) fn judge_grace(&mut self, universe: &Universe, claim: &Object) {
        let pod = name_of(claim).trim_start_matches("tikv-");
        let Some(pod) = universe.kube.get("Pod", pod) else { return };
        let young = clock::rfc3339(universe.now.saturating_sub(A_MINUTE));
        let created = text(pod, "/metadata/creationTimestamp");
        if note(claim, "store-id").is_empty() && created > young.as_str() {
            self.find(GRACE, format!("{} was made at {created}", name_of(pod)));
        }
    }

    /// A store that runs was stopped: no other store is in the middle of something.
    pub(super) fn judge_stop(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let marked = |claim: &Object| {
            !note(claim, "leaving").is_empty() || !note(claim, "evicting").is_empty()
        };
        let own = format!("tikv-{}", write.key.name);
        let own = universe.kube.get("PersistentVolumeClaim", &own);
        if own.is_none_or(marked) {
            return;
        }
        let mut claims = main_claims(universe, cluster, "tikv").filter(|claim| marked(claim));
        if let Some(other) = claims.next() {
            self.find(HALF, format!("{} while {} is marked", write.key, name_of(other)));
        }
    }

    /// A volume is to be larger: no other one of its component is growing.
    pub(super) fn judge_growth(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let (Some(before), Some(after)) = (write.before.as_deref(), write.after.as_deref()) else {
            return;
        };
        let asked = |claim: &Object| bytes(text(claim, "/spec/resources/requests/storage"));
        if asked(after) <= asked(before) {
            return;
        }
        let of = |claim: &Object| {
            text(claim, "/metadata/labels/app.kubernetes.io~1component").to_owned()
        };
        let mut growing = universe.kube.list("PersistentVolumeClaim").filter(|claim| {
            let has = bytes(text(claim, "/status/capacity/storage"));
            belongs(claim, cluster)
                && name_of(claim) != write.key.name
                && of(claim) == of(after)
                && text(claim, "/status/phase") == "Bound"
                && note(claim, "retired").is_empty()
                && !is_deleting(claim)
                && has.is_some()
                && has < asked(claim)
        });
        if let Some(other) = growing.next() {
            self.find(GROWTH, format!("{} while {} grows", write.key, name_of(other)));
        }
    }

    /// A pass takes away one thing; more only of what is to stop, or with the whole cluster.
    pub(super) fn judge_pass(&mut self, universe: &Universe, cluster: &str, pass: &Pass) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        if is_deleting(resource) {
            return;
        }
        let takes = |write: &&Write| match (write.verb, write.key.kind.as_str()) {
            (Verb::Delete, "Pod") => {
                let component = if write.key.name.contains("-pd-") { "pd" } else { "tikv" };
                !is_suspended(resource, component)
            }
            (Verb::Delete, "PersistentVolumeClaim") => true,
            (Verb::Call, call) => {
                matches!(call, "OfflineStore" | "TransferPdLeader" | "RemovePdMember")
            }
            _ => false,
        };
        let gone: Vec<String> =
            pass.writes.iter().filter(takes).map(|write| write.key.to_string()).collect();
        if gone.len() > 1 {
            self.find(ONE, gone.join(", "));
        }
    }

    /// What was asked for in vain.
    pub(super) fn judge_vain_steps(&mut self, universe: &Universe, pass: &Pass) {
        for outcome in &pass.outcomes {
            if let Step::Create(object) = &outcome.step {
                let found = universe.kube.get(object.key.kind.as_str(), &object.key.name);
                // One whose labels were taken off is not seen by who looks for them.
                let says = |found: &Object| {
                    let labels = at(found, "/metadata/labels").as_object();
                    labels.is_some_and(|labels| !labels.is_empty())
                };
                if found.is_some_and(|found| is_deleting(found) && says(found)) {
                    self.find(GONE, object.key.to_string());
                }
            } else if let Step::ResizeVolume { name, .. } = &outcome.step
                && outcome.result.is_err()
            {
                let now = self.now;
                let times = self.refused.entry(format!("growth of {name}")).or_default();
                times.retain(|at| now - *at < OFTEN.1);
                times.push(now);
                if times.len() > OFTEN.0 {
                    self.find(ASKED, name.clone());
                }
            }
        }
    }

    /// Before there is a cluster id: a pod of PD was made.
    pub(super) fn judge_first_volumes(&mut self, universe: &Universe, pod: &str, members: &[&str]) {
        let lacks = |member: &&&str| {
            let claim = universe.kube.get("PersistentVolumeClaim", &format!("pd-{member}"));
            claim.is_none_or(|claim| claim.cluster().is_none())
        };
        if let Some(member) = members.iter().find(lacks) {
            self.find(FIRST, format!("{pod} was made without the volume of {member}"));
        }
    }
}

/// It gives back what an operation took: leaders, a pod, a lock, a budget, or the mark of that.
fn ends_a_half(universe: &Universe, write: &Write) -> bool {
    let claim = |pod: &str| universe.kube.get("PersistentVolumeClaim", &format!("tikv-{pod}"));
    match (write.verb, write.key.kind.as_str()) {
        (Verb::Call, kind) => matches!(kind, "StopEvicting" | "EvictLeaders" | "UnlockMaintenance"),
        (Verb::Create, "Pod") => {
            claim(&write.key.name).is_some_and(|claim| !note(claim, "evicting").is_empty())
        }
        (Verb::Apply, "PodDisruptionBudget") => true,
        (Verb::Apply, "PersistentVolumeClaim") => {
            let (Some(before), Some(after)) = (write.before.as_deref(), write.after.as_deref())
            else {
                return false;
            };
            let same = |name| note(before, name) == note(after, name);
            let ended = !note(before, "evicting").is_empty() && note(after, "evicting").is_empty();
            ended && same("leaving") && same("retired") && at(before, "/spec") == at(after, "/spec")
        }
        _ => false,
    }
}

/// The store at this address is of this pod, and back.
pub(super) fn is_back(ensemble: &Ensemble, id: u64, pod: &str) -> bool {
    let store = ensemble.cluster.stores.get(&id);
    store.is_some_and(|store| store.state == StoreState::Up && pod_of(store) == pod)
}
