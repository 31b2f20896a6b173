//! Did anything happen that must never happen?
//!
//! Looks at what was written, at what the servers made of it and at what is on the disks. It
//! shares no code with the planner and its rules: it reads objects by itself and knows the truth
//! that the operator can only ask for.

mod alike;
mod disruption;
mod gates;
mod joined;
mod left;
mod loss;
mod mistakes;
mod order;
mod patience;
mod proof;
mod removal;
mod runs;
mod settings;
mod truth;
mod wishes;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use disruption::Disrupted;
use joined::Joins;
use mistakes::Asked;
use runs::Runs;

use crate::kube::{Object, at, is_deleting, name_of, text, uid_of};
use crate::operator::Pass;
use crate::universe::Universe;

/// Something that must never happen did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The invariant, by its number and in words.
    pub invariant: &'static str,
    /// When, in milliseconds since the beginning.
    pub at: u64,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s: {}: {}", self.at / 1000, self.invariant, self.what)
    }
}

/// What the auditor has seen of one incarnation of a resource.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Cluster id in its status.
    recorded: Option<String>,
    /// Cluster ids that its PD made.
    minted: Vec<u64>,
    /// It was seen being deleted with a policy that deletes volumes.
    lets_go: bool,
}

/// A store, by the cluster that it is of: ids of stores are PD's, and begin anew in each.
type Named = (String, u64);

const ONE: &str = "I4 exactly one cluster id";
const I8: &str = "I8 nothing is left behind by an operation";
const SILENT: &str = "no silent stall";

/// Watches a run.
#[derive(Clone, Debug, Default)]
pub struct Auditor {
    /// What was found, in order.
    pub findings: Vec<Finding>,
    /// Resources by uid.
    seen: BTreeMap<String, Seen>,
    /// The present or last uid of a resource, by name.
    uids: BTreeMap<String, String>,
    /// Clusters whose data were taken by someone else than the operator.
    forgiven: BTreeSet<u64>,
    /// Members that the operator took down and that are not back.
    disrupted: Vec<Disrupted>,
    /// Since when stores are in the evict-leader scheduler, by consensus history and store.
    evicted_since: BTreeMap<(usize, u64), u64>,
    /// Stores that a user put into the evict-leader scheduler.
    users_evictions: BTreeSet<Named>,
    /// Stores that a user gave up for lost.
    users_tombstones: BTreeSet<Named>,
    /// Stores whose removal a user began.
    users_removals: BTreeSet<Named>,
    /// Settings that a user changed in a process of a store: cluster, store, its start, item.
    users_settings: BTreeSet<(String, u64, u64, String)>,
    /// Since when stores and PD members do not serve, by consensus history and id.
    silent_since: BTreeMap<(usize, u64), u64>,
    /// The leaders of PD as they were before the pass.
    leaders: BTreeMap<usize, u64>,
    /// When the operator last moved PD's leadership, by cluster.
    transferred: BTreeMap<String, u64>,
    /// What the first store of a resource was made with, by its uid.
    formats: BTreeMap<String, BTreeMap<&'static str, String>>,
    /// The generation of the spec that each pod was made of, by its uid.
    made_of: BTreeMap<String, u64>,
    /// When calls were refused, by what was called.
    refused: BTreeMap<String, Vec<u64>>,
    /// When volumes were retired, by uid of the claim.
    retired_at: BTreeMap<String, u64>,
    /// The generation of a resource's spec and since when it has it, by uid.
    edited: BTreeMap<String, (u64, u64)>,
    /// What resources have asked for, by uid.
    asked: BTreeMap<String, Asked>,
    /// Since when the API server takes no pods.
    closed_since: Option<u64>,
    /// When stores that the operator took down came back, by consensus history and id.
    back: BTreeMap<(usize, u64), u64>,
    /// When objects were applied to no effect, by key.
    idle_writes: BTreeMap<String, Vec<u64>>,
    /// When upgrades were announced first, by the uid of the resource and the announcement's id.
    announced: BTreeMap<(String, String), u64>,
    /// Runs of tasks.
    runs: Runs,
    /// PD members that are being added, and whose doing it is when they never start.
    joins: Joins,
    /// How many changes of the API server there were when resources were last noted.
    noted: usize,
    now: u64,
}

impl Auditor {
    /// Someone took data of this cluster away: what is lost is not the operator's doing.
    pub fn forgive(&mut self, cluster_id: u64) {
        self.forgiven.insert(cluster_id);
    }

    /// A user put a store into the evict-leader scheduler, or took it out.
    pub fn users_eviction(&mut self, cluster: &str, store: u64, evicts: bool) {
        let named = (cluster.to_owned(), store);
        if evicts {
            self.users_evictions.insert(named);
        } else {
            self.users_evictions.remove(&named);
        }
    }

    /// A user gave stores up for lost.
    pub fn users_tombstones(&mut self, cluster: &str, stores: &[u64]) {
        self.users_tombstones.extend(stores.iter().map(|store| (cluster.to_owned(), *store)));
    }

    /// A machine goes with its disks: what a majority had on them is lost by another hand.
    pub fn forgive_node(&mut self, universe: &Universe, node: &str) {
        for ensemble in &universe.pd.ensembles {
            let on_node = |store: u64| {
                universe.nodes.disks.values().any(|disk| {
                    let data = universe.tikv.disks.get(&disk.id);
                    disk.node == node
                        && data.is_some_and(|d| {
                            Some(d.cluster_id) == ensemble.cluster_id && d.store == store
                        })
                })
            };
            let lost = ensemble.cluster.regions.iter().any(|region| {
                let left = region.voters().filter(|store| !on_node(*store)).count();
                left < region.quorum()
            });
            if lost {
                self.forgiven.extend(ensemble.cluster_id);
            }
        }
    }

    fn find(&mut self, invariant: &'static str, what: impl Into<String>) {
        let finding = Finding { invariant, at: self.now, what: what.into() };
        // The same fact is seen at every tick; it is reported once.
        let known = |old: &Finding| old.invariant == invariant && old.what == finding.what;
        if !self.findings.iter().any(known) {
            self.findings.push(finding);
        }
    }

    /// Looks at what a second brought.
    pub fn after_tick(&mut self, universe: &mut Universe) {
        self.now = universe.now;
        self.note_resources(universe);
        self.follow_disruptions(universe);
        self.follow_silence(universe);
        self.follow_edits(universe);
        self.follow_joins(universe);
        let leaders = universe.pd.ensembles.iter().enumerate();
        self.leaders = leaders.filter_map(|(index, e)| Some((index, e.leader?))).collect();
        for minted in std::mem::take(&mut universe.pd.minted) {
            self.judge_new_cluster(universe, &minted.by, minted.cluster_id, minted.forgot);
        }
        for (disk, new, old) in std::mem::take(&mut universe.nodes.shared_disks) {
            let what = format!("disk {disk} of pod {old} was given to pod {new}");
            self.find("F38 one process per volume", what);
        }
        for ensemble in &universe.pd.ensembles {
            let Some(id) = ensemble.cluster_id else { continue };
            if self.forgiven.contains(&id) {
                continue;
            }
            for region in universe.tikv.lost(ensemble) {
                let what = format!("no disk has the acknowledged writes of region {region}");
                self.find("I11 acknowledged writes are never lost", what);
            }
        }
    }

    fn note_resources(&mut self, universe: &mut Universe) {
        // What is seen of resources is the same until one of them changes.
        let version = std::mem::replace(&mut self.noted, universe.kube.version());
        if !universe.kube.has_news(version, &["TikvCluster"]) {
            return;
        }
        for resource in universe.kube.list("TikvCluster") {
            let uid = uid_of(resource).to_owned();
            let seen = self.seen.entry(uid.clone()).or_default();
            seen.lets_go |= is_deleting(resource) && may_delete_volumes(resource);
            if seen.lets_go {
                self.forgiven.extend(seen.minted.iter().copied());
            }
            self.uids.insert(name_of(resource).to_owned(), uid);
        }
        self.note_mistakes(universe, version);
    }

    /// A cluster id is made once for a resource, and never beside volumes of an earlier one.
    fn judge_new_cluster(&mut self, universe: &Universe, by: &[String], id: u64, forgot: bool) {
        let cluster =
            by.iter().find_map(|name| name.rsplit_once("-pd-")).map(|(cluster, _)| cluster);
        let cluster = cluster.unwrap_or_default().to_owned();
        let uid = self.uids.get(&cluster).cloned().unwrap_or_default();
        let seen = self.seen.entry(uid.clone()).or_default();
        let earlier = seen.minted.first().copied();
        seen.minted.push(id);
        if seen.lets_go {
            self.forgiven.insert(id);
        }
        if let Some(earlier) = earlier {
            let what = format!("{cluster} ({uid}) had {earlier} and made another one");
            self.find(ONE, what);
        } else if forgot {
            self.find(ONE, format!("a majority of {cluster} without memory made a new one"));
        } else {
            let left = universe.kube.list("PersistentVolumeClaim").find(|claim| {
                let its = text(claim, "/metadata/annotations/tikv.org~1cluster-id");
                let of_ours = text(claim, "/metadata/labels/tikv.org~1cluster") == cluster;
                of_ours && !its.is_empty() && its != id.to_string()
            });
            if let Some(claim) = left {
                let what = format!("{cluster} made one beside volume {}", name_of(claim));
                self.find(ONE, what);
            }
        }
    }

    /// Looks at what a pass wrote and planned.
    pub fn after_pass(&mut self, universe: &mut Universe, cluster: &str, pass: &Pass) {
        self.now = universe.now;
        self.note_resources(universe);
        self.look_by_what_is_in_force(universe, cluster, pass);
        let universe = &*universe;
        for write in &pass.writes {
            self.judge_write(universe, cluster, write);
        }
        self.judge_refusals(pass);
        self.judge_vain_steps(universe, pass);
        self.judge_pass(universe, cluster, pass);
        self.judge_silence(universe, cluster, pass);
        self.judge_condition(universe, cluster, pass);
    }

    /// Not Ready, nothing to do and no reason given: a silent stall.
    fn judge_silence(&mut self, universe: &Universe, cluster: &str, pass: &Pass) {
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        if pass.crashed || is_deleting(resource) {
            return;
        }
        if let Some(reason) = &pass.rejected {
            let summary = text(resource, "/status/summary");
            if summary.is_empty() && pass.wrote_status {
                self.find(SILENT, format!("the spec was rejected without a word: {reason}"));
            }
            return;
        }
        let Some(plan) = &pass.plan else { return };
        let idle = plan.steps.is_empty() && plan.waits.is_empty();
        if idle && condition(resource, "Ready") != Some("True") && !pass.writes.is_empty() {
            let conditions = at(resource, "/status/conditions").as_array().into_iter().flatten();
            let mut conditions = conditions;
            let ready = conditions.find(|c| text(c, "/type") == "Ready");
            let says = ready.map_or("nothing", |ready| text(ready, "/message"));
            let what = format!("{cluster} is not Ready ({says}), and no step and no wait says why");
            self.find(SILENT, what);
        }
    }
}

/// The status of a condition.
pub(crate) fn condition<'a>(resource: &'a Object, kind: &str) -> Option<&'a str> {
    let conditions = at(resource, "/status/conditions").as_array()?;
    conditions.iter().find(|c| text(c, "/type") == kind).map(|c| text(c, "/status"))
}

/// Somewhere in the spec it says `pvReclaimPolicy: Delete`.
fn may_delete_volumes(resource: &Object) -> bool {
    ["/spec/pvReclaimPolicy", "/spec/pd/pvReclaimPolicy", "/spec/tikv/pvReclaimPolicy"]
        .iter()
        .any(|pointer| text(resource, pointer) == "Delete")
}
