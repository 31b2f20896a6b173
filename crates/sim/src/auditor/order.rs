//! Was something done before its turn?
//!
//! What design and scenarios say about order: PD before stores and stores before PD, one after the
//! other, the newer not before the older.

use super::Auditor;
use super::loss::{pod_of, served};
use super::removal::{belongs, note};
use super::truth::setting;
use crate::clock::{SECOND, rfc3339};
use crate::kube::{Object, at, is_deleting, name_of, text, uid_of};
use crate::operator::Write;
use crate::pd::{Ensemble, StoreState};
use crate::universe::Universe;

const STOPS: &str = "scenario 16: stores stop before PD";
const STARTS: &str = "scenario 16: PD starts before stores";
const DRAINED: &str = "scenario 42: the pod of a leaving store goes after its regions";
const LOCK: &str = "the maintenance lock of others is respected";
const VERSIONS: &str = "F70 PD is never older than TiKV, and no store goes back";
const PD_FIRST: &str = "scenario 21: stores are restarted when PD is done";
const CALM: &str = "scenario 27: nothing well is taken down while something else is away";
const JOIN: &str = "scenario 56: PD members join one by one, beside healthy ones";
const OUT: &str = "scenario 41: stores join in turn";
const IN: &str = "scenario 49: stores leave in turn";
const LISTED: &str = "F44 a member that PD lists is not started on an empty volume";
const VANISHED: &str = "F51 nothing is made beside stores that PD has forgotten";
const TARGET: &str = "scenario 22: PD's leadership goes to a healthy member that stays";

const UNHEARD: &str = "F73 nothing is restarted on a machine that is not heard";
const CAUSE: &str = "scenario 9: nothing is restarted without a cause";

/// Members are away for a moment without anybody having noticed.
const UNNOTICED: u64 = 60 * SECOND;
/// What the API server says of a machine reaches an operator.
const TOLD: u64 = 10 * SECOND;
/// Between two transfers of PD's leadership.
const RESTS: u64 = 4 * SECOND;

/// Major and minor.
type Release = (u64, u64);

impl Auditor {
    /// A pod was deleted.
    pub(super) fn judge_turn(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let Some(pod) = write.before.as_deref().filter(|pod| !is_deleting(pod)) else { return };
        if is_deleting(resource) {
            return;
        }
        let component = text(pod, "/metadata/labels/app.kubernetes.io~1component");
        if super::disruption::is_suspended(resource, component) {
            let prefix = format!("{cluster}-tikv-");
            let left = universe.kube.list("Pod").find(|pod| name_of(pod).starts_with(&prefix));
            // An update that had begun is finished first.
            let updated = image_tag(pod, "pd").trim_start_matches('v')
                == wanted_version(universe, cluster, "pd").trim_start_matches('v');
            if let Some(left) = left.filter(|_| component == "pd" && updated) {
                self.find(STOPS, format!("{} before {}", write.key, name_of(left)));
            }
            if component == "tikv" && is_ready(pod) {
                self.judge_stop(universe, cluster, write);
            }
            return;
        }
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        if component == "tikv" {
            self.judge_leaver(ensemble, pod, write);
        }
        self.judge_unheard(universe, pod, write);
        if !is_ready(pod) {
            return;
        }
        let uid = uid_of(resource);
        let others = |id: &str| !id.starts_with(uid) && !was_of(universe, cluster, id);
        if let Some((kind, id, _)) = ensemble.maintenance.as_ref().filter(|(_, id, _)| others(id)) {
            self.find(LOCK, format!("{} while {kind}/{id} holds it", write.key));
        }
        let leaves = match component {
            "tikv" => served(universe, uid_of(pod)).is_none_or(|id| {
                ensemble.cluster.stores.get(&id).is_none_or(|s| s.state != StoreState::Up)
            }),
            _ => ensemble.member_named(name_of(pod)).is_none(),
        };
        if !leaves {
            self.judge_cause(universe, cluster, write);
            self.judge_trial(universe, cluster, write);
            self.judge_gates(universe, cluster, write);
            self.judge_restart(universe, (cluster, index), (component, write));
        }
    }

    fn judge_leaver(&mut self, ensemble: &Ensemble, pod: &Object, write: &Write) {
        let ended = matches!(text(pod, "/status/phase"), "Failed" | "Succeeded");
        let mut stores = ensemble.cluster.stores.values();
        let store = stores.find(|s| pod_of(s) == name_of(pod) && s.state == StoreState::Offline);
        if let Some(store) = store.filter(|_| !ended) {
            let regions = ensemble.cluster.load(store.id).1;
            self.find(DRAINED, format!("{}: store {} has {regions}", write.key, store.id));
        }
    }

    /// A process that stays where it is was told to go, on a machine that has not been heard for long:
    /// it goes when that is back, whatever else is out of order by then.
    fn judge_unheard(&mut self, universe: &Universe, pod: &Object, write: &Write) {
        let runs = universe.tikv.processes.contains_key(uid_of(pod))
            || universe.pd.processes.contains_key(uid_of(pod));
        let claims = universe.kube.list("PersistentVolumeClaim");
        let mut its =
            claims.filter(|claim| name_of(claim).ends_with(&format!("-{}", name_of(pod))));
        let goes = its.any(|c| !note(c, "leaving").is_empty() || !note(c, "retired").is_empty());
        let Some(node) = universe.kube.get("Node", text(pod, "/spec/nodeName")) else { return };
        let long_ago = rfc3339(self.now.saturating_sub(TOLD));
        let mut conditions = at(node, "/status/conditions").as_array().into_iter().flatten();
        let silent = conditions.any(|condition| {
            text(condition, "/type") == "Ready"
                && text(condition, "/status") != "True"
                && text(condition, "/lastTransitionTime") < long_ago.as_str()
        });
        if runs && silent && !goes {
            self.find(UNHEARD, format!("{} on {}", write.key, name_of(node)));
        }
    }

    fn judge_restart(
        &mut self,
        universe: &Universe,
        (cluster, index): (&str, usize),
        (component, write): (&str, &Write),
    ) {
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let wanted = release(wanted_version(universe, cluster, component));
        let stores = ensemble.cluster.stores.values().filter(|s| s.state != StoreState::Tombstone);
        let stores: Vec<Release> = stores.filter_map(|s| release(&s.version)).collect();
        let members: Vec<(String, Release)> = members(universe, index);
        let newest = stores.iter().max().copied();
        if component == "pd" && wanted < newest && wanted.is_some() {
            self.find(VERSIONS, format!("{}: PD goes below the stores", write.key));
        }
        if component == "pd" {
            self.judge_pd_size(universe, (cluster, ensemble), write);
        }
        let oldest = members.iter().map(|(_, release)| *release).min();
        if component == "tikv" {
            if oldest.is_some() && wanted > oldest {
                self.find(VERSIONS, format!("{}: a PD member is older", write.key));
            }
            let back = wanted.is_some() && wanted < newest;
            self.judge_pd_done(universe, (cluster, index), back, write);
        }
        self.judge_calm(universe, (cluster, index), write);
    }

    fn judge_pd_done(
        &mut self,
        universe: &Universe,
        (cluster, index): (&str, usize),
        back: bool,
        write: &Write,
    ) {
        let wanted = wanted_version(universe, cluster, "pd").trim_start_matches('v').to_owned();
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let old = universe.pd.processes.iter().find(|(uid, process)| {
            let data = universe.pd.disks.get(&process.disk);
            // One that was removed may run on for as long as its machine is not heard.
            data.is_some_and(|data| data.ensemble == index)
                && ensemble.member_named(&process.start.name).is_some()
                && process.start.version.trim_start_matches('v') != wanted
                && universe.kube.pod_by_uid(uid).is_some()
        });
        if let Some((_, process)) = old.filter(|_| !back) {
            let what = format!("{} while {} is not {wanted}", write.key, process.start.name);
            self.find(PD_FIRST, what);
        }
    }

    /// Another store or member is away, and whoever looks must have seen it.
    fn judge_calm(&mut self, universe: &Universe, (cluster, index): (&str, usize), write: &Write) {
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let away = |id: u64| self.silence(index, id) > UNNOTICED;
        let stores = ensemble.cluster.stores.values().filter(|store| {
            store.state == StoreState::Up && pod_of(store).starts_with(&format!("{cluster}-"))
        });
        let mut other = stores
            .filter(|store| pod_of(store) != write.key.name && away(store.id))
            .map(|store| pod_of(store).to_owned());
        let mut member = ensemble
            .members
            .values()
            .filter(|member| member.name != write.key.name && away(member.id))
            .map(|member| member.name.clone());
        if let Some(other) = other.next().or_else(|| member.next()) {
            self.find(CALM, format!("{} was deleted while {other} is away", write.key));
        }
    }

    /// A pod was made.
    pub(super) fn judge_start(&mut self, universe: &Universe, cluster: &str, pod: &Object) {
        let name = name_of(pod);
        self.judge_first_member(universe, cluster, name);
        if let Some(of) = generation_in_force(universe, cluster) {
            self.made_of.insert(uid_of(pod).to_owned(), of);
        }
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        if !name.contains("-tikv-") {
            return;
        }
        let pd_runs = universe.pd.processes.values().any(|process| {
            universe.pd.disks.get(&process.disk).is_some_and(|data| data.ensemble == index)
        });
        let prefix = format!("{cluster}-tikv-");
        let alone = !universe
            .kube
            .list("Pod")
            .any(|other| name_of(other).starts_with(&prefix) && name_of(other) != name);
        if !pd_runs && alone {
            self.find(STARTS, format!("{name} was made and no PD runs"));
        }
        let version = image_tag(pod, "tikv");
        let stores = ensemble.cluster.stores.values().filter(|s| s.state != StoreState::Tombstone);
        let oldest = stores.filter_map(|store| release(&store.version)).min();
        if let (Some(new), Some(oldest)) = (release(version), oldest)
            && new < oldest
        {
            self.find(VERSIONS, format!("{name} is made as {version}, below all stores"));
        }
    }

    /// Until there is a cluster id only the recorded first members start.
    fn judge_first_member(&mut self, universe: &Universe, cluster: &str, name: &str) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let members = at(resource, "/status/bootstrap/members").as_array();
        let Some(members) = members.filter(|_| name.contains("-pd-")) else { return };
        let known = !text(resource, "/status/clusterId").is_empty();
        if known && main_claims(universe, cluster, "pd").next().is_none() {
            self.find(super::ONE, format!("{name} was made and no PD volume is left"));
        }
        if !known && !members.iter().any(|member| member.as_str() == Some(name)) {
            self.find(super::ONE, format!("{name} is not among the first members {members:?}"));
        }
        if !known {
            let members: Vec<&str> = members.iter().filter_map(|member| member.as_str()).collect();
            self.judge_first_volumes(universe, name, &members);
        }
    }

    /// A pod that runs what the spec says, on a machine that is open, is left alone.
    fn judge_cause(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(pod) = write.before.as_deref() else { return };
        let of = generation_in_force(universe, cluster);
        // One that was made before a gate opened runs the image of before.
        let component = text(pod, "/metadata/labels/app.kubernetes.io~1component");
        let current = image_tag(pod, component) == wanted_version(universe, cluster, component);
        let same = current && self.made_of.get(uid_of(pod)).copied() == of;
        let asked = ["tikv.org/restart", "tikv.org/leave"]
            .iter()
            .any(|mark| at(pod, "/metadata/annotations").get(mark).is_some());
        let node = universe.kube.get("Node", text(pod, "/spec/nodeName"));
        let closed =
            node.is_none_or(|node| at(node, "/spec/unschedulable").as_bool() == Some(true));
        if same && !asked && !closed {
            self.find(CAUSE, write.key.to_string());
        }
    }

    /// A main volume was made.
    pub(super) fn judge_new_volume(&mut self, universe: &Universe, cluster: &str, claim: &Object) {
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let name = name_of(claim);
        let Some((component, pod)) = name.split_once('-') else { return };
        if !at(claim, "/metadata/labels/tikv.org~1volume").is_null() {
            return;
        }
        let mut stores = ensemble.cluster.stores.values();
        let store = stores.find(|s| pod_of(s) == pod && s.state != StoreState::Tombstone);
        let listed = match component {
            "pd" => ensemble.member_named(pod).is_some_and(|m| m.client_url.is_some()),
            _ => store.is_some(),
        };
        if listed {
            self.find(LISTED, format!("{name} was made"));
        }
        if component == "pd" {
            self.judge_joiner(universe, (cluster, index), name);
        } else if note(claim, "replaces-store").is_empty()
            && ensemble.cluster.bootstrapped.is_some()
        {
            self.judge_new_store(universe, (cluster, ensemble), name);
        }
    }

    fn judge_joiner(&mut self, universe: &Universe, (cluster, index): (&str, usize), name: &str) {
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let unwell = ensemble.members.values().find(|member| {
            member.client_url.is_none() || self.silence(index, member.id) > UNNOTICED
        });
        let who = unwell.map(|member| member.name.clone()).or_else(|| {
            let mut claims = main_claims(universe, cluster, "pd").filter(|claim| {
                let pod = name_of(claim).trim_start_matches("pd-");
                name_of(claim) != name && ensemble.member_named(pod).is_none()
            });
            claims.next().map(|claim| name_of(claim).to_owned())
        });
        if let Some(who) = who {
            self.find(JOIN, format!("{name} was made while {who} is not there"));
        }
    }

    fn judge_new_store(
        &mut self,
        universe: &Universe,
        (cluster, ensemble): (&str, &Ensemble),
        name: &str,
    ) {
        let known = |claim: &Object| {
            let id: Option<u64> = note(claim, "store-id").parse().ok();
            id.is_none_or(|id| ensemble.cluster.stores.contains_key(&id))
        };
        let forgotten = main_claims(universe, cluster, "tikv").find(|claim| !known(claim));
        if let Some(claim) = forgotten.map(name_of) {
            self.find(
                VANISHED,
                format!("{name} was made, and PD does not know the store of {claim}"),
            );
        }
        let at_a_time = setting(universe, cluster, "tikv", "/scalePolicy/scaleOutParallelism");
        let at_a_time = at_a_time.as_u64().unwrap_or(1);
        let joining = main_claims(universe, cluster, "tikv").filter(|claim| {
            let pod = name_of(claim).trim_start_matches("tikv-");
            note(claim, "replaces-store").is_empty()
                && note(claim, "store-id").is_empty()
                && !ensemble.cluster.stores.values().any(|store| pod_of(store) == pod)
        });
        let joining = joining.count() as u64;
        if joining > at_a_time {
            self.find(OUT, format!("{name}: {joining} at once, {at_a_time} are wanted"));
        }
    }

    /// A volume says now that its store leaves because there are too many.
    pub(super) fn judge_new_leaver(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let at_a_time = setting(universe, cluster, "tikv", "/scalePolicy/scaleInParallelism");
        let at_a_time = at_a_time.as_u64().unwrap_or(1);
        let leaving = main_claims(universe, cluster, "tikv").filter(|claim| {
            let why = note(claim, "leaving");
            !why.is_empty() && !why.ends_with(" replaced")
        });
        let leaving = leaving.count() as u64;
        if leaving > at_a_time {
            self.find(IN, format!("{}: {leaving} at once, {at_a_time} are wanted", write.key));
        }
    }

    /// PD's leadership was given to somebody.
    pub(super) fn judge_transfer(&mut self, universe: &Universe, cluster: &str, write: &Write) {
        let Some(index) = universe.cluster_of(cluster) else { return };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return };
        let what = write.key.to_string();
        let target = ensemble.member_named(&write.key.name);
        if target.is_none_or(|member| self.silence(index, member.id) > 0) {
            self.find(TARGET, format!("{what}: it does not serve"));
        }
        let claim = universe.kube.get("PersistentVolumeClaim", &format!("pd-{}", write.key.name));
        if claim.is_some_and(|claim| !note(claim, "leaving").is_empty()) {
            self.find(TARGET, format!("{what}: it is leaving"));
        }
        let since = universe.now.saturating_sub(ensemble.leader_since);
        let last = self.transferred.insert(cluster.to_owned(), universe.now);
        if last.is_some() && since < RESTS {
            self.find(TARGET, format!("{what}: PD's leader is {} s old", since / SECOND));
        }
    }
}

/// Main claims of a component that are in use.
pub(super) fn main_claims<'a>(
    universe: &'a Universe,
    cluster: &'a str,
    component: &'a str,
) -> impl Iterator<Item = &'a Object> {
    universe.kube.list("PersistentVolumeClaim").filter(move |claim| {
        belongs(claim, cluster)
            && text(claim, "/metadata/labels/app.kubernetes.io~1component") == component
            && at(claim, "/metadata/labels/tikv.org~1volume").is_null()
            && note(claim, "retired").is_empty()
            && !is_deleting(claim)
    })
}

/// The tag of the image of one of a pod's containers.
pub(super) fn image_tag<'a>(pod: &'a Object, container: &str) -> &'a str {
    let mut containers = at(pod, "/spec/containers").as_array().into_iter().flatten();
    let image = containers.find(|c| text(c, "/name") == container).map(|c| text(c, "/image"));
    image.and_then(|image| image.rsplit_once(':')).map_or("", |(_, tag)| tag)
}

/// The generation of the spec that is in force.
fn generation_in_force(universe: &Universe, cluster: &str) -> Option<u64> {
    let before = universe.in_force.get(cluster).map(|before| before.generation);
    before.or_else(|| Some(generation(universe.kube.get("TikvCluster", cluster)?)))
}

pub(super) fn generation(resource: &Object) -> u64 {
    at(resource, "/metadata/generation").as_u64().unwrap_or_default()
}

fn members(universe: &Universe, index: usize) -> Vec<(String, Release)> {
    let of = |process: &&crate::pd::Process| {
        universe.pd.disks.get(&process.disk).is_some_and(|data| data.ensemble == index)
    };
    let processes = universe.pd.processes.values().filter(of);
    processes.filter_map(|p| Some((p.start.name.clone(), release(&p.start.version)?))).collect()
}

pub(super) fn wanted_version<'a>(
    universe: &'a Universe,
    cluster: &str,
    component: &str,
) -> &'a str {
    setting(universe, cluster, component, "/version").as_str().unwrap_or_default()
}

fn release(version: &str) -> Option<Release> {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn is_ready(pod: &Object) -> bool {
    at(pod, "/status/containerStatuses/0/ready").as_bool() == Some(true)
}

/// The holder is a resource of the same name that is gone, and that founded this cluster: so a
/// volume of it says.
fn was_of(universe: &Universe, cluster: &str, id: &str) -> bool {
    universe.kube.list("PersistentVolumeClaim").any(|claim| {
        claim.cluster() == Some(cluster)
            && super::removal::note(claim, "bootstrap").contains(&format!("{id:?}"))
    })
}
