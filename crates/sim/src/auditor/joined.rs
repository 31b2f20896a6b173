//! Has PD lost its majority by a member that never started, and by nobody's mistake?
//!
//! A member counts from its entry in etcd's list on. Where its process ends before it has written down
//! that it is one, no later start can become that member ([`beliefs::JOIN_FILE`]); beside a single
//! other one that is half of two. No step of the operator's lies in between, none heals it, and a person
//! has to make the other one the only member again (docs/runbooks/pd-quorum-lost.md). Whether it is so
//! is read from the disks and from who ended the process; that the operator says so is required of it.
//!
//! [`beliefs::JOIN_FILE`]: crate::beliefs::JOIN_FILE

use std::collections::{BTreeMap, BTreeSet};

use super::disruption::well_members;
use super::{Auditor, condition};
use crate::kube::{at, is_deleting, text, uid_of};
use crate::operator::Write;
use crate::pd::{Member, Stage};
use crate::search::Likeness;
use crate::universe::Universe;

/// The public name of what the status has to say then.
const LOST: &str = "pd-quorum-lost";

/// Members that were added and have nothing on a disk, and PD pods that the operator deleted.
#[derive(Clone, Debug, Default)]
pub(super) struct Joins {
    /// The uid of the pod whose process was added, by consensus history and member.
    by: BTreeMap<(usize, u64), String>,
    /// Uids.
    taken: BTreeSet<String>,
}

impl Joins {
    /// All of it.
    pub(super) fn tell(&self, to: &mut Likeness) {
        let Self { by, taken } = self;
        for ((ensemble, member), uid) in by {
            to.same((ensemble, taken.contains(uid)));
            to.id(*member);
        }
    }
}

impl Auditor {
    /// Notes whose process is being added to PD's members, until that is on its disk.
    pub(super) fn follow_joins(&mut self, universe: &Universe) {
        for (uid, process) in &universe.pd.processes {
            if let Stage::Joining { ensemble, member } = process.stage {
                self.joins.by.insert((ensemble, member), uid.clone());
            }
        }
        self.joins.by.retain(|(index, id), _| {
            let ensemble = universe.pd.ensembles.get(*index);
            let member = ensemble.and_then(|ensemble| ensemble.members.get(id));
            member.is_some_and(|member| !is_kept(universe, *index, member))
        });
    }

    /// The operator deleted a pod: what its process was in the middle of is the operator's doing.
    pub(super) fn note_taken(&mut self, write: &Write) {
        let pod = write.before.as_deref().filter(|_| write.key.name.contains("-pd-"));
        self.joins.taken.extend(pod.map(|pod| uid_of(pod).to_owned()));
    }

    /// A cluster's PD has no majority and can have none any more, because others ended a process between
    /// the entry of its member in etcd's list and its first start. All other members are there, with
    /// their data.
    pub fn is_lost_by_a_join(&self, universe: &Universe, cluster: &str) -> bool {
        let Some(index) = universe.cluster_of(cluster) else { return false };
        let Some(ensemble) = universe.pd.ensembles.get(index) else { return false };
        let going = universe.kube.get("TikvCluster", cluster).is_none_or(is_deleting);
        if going || ensemble.leader.is_some() {
            return false;
        }
        let lost = ensemble.members.values().filter(|m| !is_kept(universe, index, m));
        let lost: Vec<&Member> = lost.collect();
        let by_others = |member: &&Member| {
            let by = self.joins.by.get(&(index, member.id));
            member.name.is_empty() && by.is_some_and(|uid| !self.joins.taken.contains(uid))
        };
        let left = ensemble.members.len() - lost.len();
        left < ensemble.quorum()
            && well_members(universe, index, 0) == left
            && lost.iter().all(by_others)
    }

    /// Such a cluster must say what happened to it: somebody has to come.
    pub fn judge_lost_by_a_join(&mut self, universe: &Universe, cluster: &str) {
        self.now = universe.now;
        let Some(resource) = universe.kube.get("TikvCluster", cluster) else { return };
        let mut waits = at(resource, "/status/waits").as_array().into_iter().flatten();
        let says = waits.any(|wait| text(wait, "/rule") == LOST);
        if !says || condition(resource, "Degraded") != Some("True") {
            let what = format!("PD of {cluster} has lost its quorum, and Degraded does not say so");
            self.find(super::SILENT, what);
        }
    }
}

/// A disk has what makes a process this member.
fn is_kept(universe: &Universe, index: usize, member: &Member) -> bool {
    let mut data = universe.pd.disks.values();
    let mut files = universe.pd.join_files.values();
    data.any(|data| data.ensemble == index && data.member == member.id)
        || files.any(|file| file.ensemble == index && file.own == member.peer_url)
}
