//! What do the members of one PD set agree on?

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Cluster;

/// One member in etcd's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name; empty after a join that did not finish.
    pub name: String,
    /// Where its peers dial it.
    pub peer_url: String,
    /// Where clients dial it; published by the member itself once it runs.
    pub client_url: Option<String>,
}

/// What is in a PD data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    /// The history that it belongs to.
    pub ensemble: usize,
    /// The member that it makes of the process that starts on it.
    pub member: u64,
    /// It holds what its ensemble has agreed on. False from a first start to the first election.
    pub synced: bool,
}

/// What a member that was added by `join` keeps until its etcd has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinFile {
    /// The history that it was added to.
    pub ensemble: usize,
    /// Its own peer URL.
    pub own: String,
    /// Peer URLs of all members as they were then, its own included.
    pub members: BTreeSet<String>,
}

/// One consensus history of etcd, with what PD keeps in it.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// Token and initial members, from which etcd computes its own ids.
    pub fingerprint: String,
    /// Members by id.
    pub members: BTreeMap<u64, Member>,
    /// PD's cluster id, once there was a leader.
    pub cluster_id: Option<u64>,
    /// The leading member.
    pub leader: Option<u64>,
    /// When the leader was elected.
    pub leader_since: u64,
    /// When the last leader was lost; the beginning of the ensemble where there was none yet.
    pub leaderless_since: u64,
    /// The member that etcd's leadership was moved to, and when PD's will have followed.
    pub successor: Option<(u64, u64)>,
    /// The lock for disruptive work: type, id and the body that it was taken with.
    pub maintenance: Option<(String, String, String)>,
    /// An online unsafe recovery is going on.
    pub unsafe_recovery: bool,
    /// Stores, regions and settings.
    pub cluster: Cluster,
}

impl Ensemble {
    /// A history in which nothing has been agreed on yet.
    pub fn new(fingerprint: String, members: BTreeMap<u64, Member>, now: u64) -> Self {
        Self {
            fingerprint,
            members,
            cluster_id: None,
            leader: None,
            leader_since: 0,
            leaderless_since: now,
            successor: None,
            maintenance: None,
            unsafe_recovery: false,
            cluster: Cluster::default(),
        }
    }

    /// How many members must agree.
    pub fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// Makes a member the leader. It knows of heartbeats what is on disk.
    pub fn lead(&mut self, member: u64, now: u64) {
        self.leader = Some(member);
        self.successor = None;
        self.leader_since = now;
        self.cluster.forget_heartbeats();
    }

    /// PD's leadership follows etcd's ([`crate::beliefs::LEADER_FOLLOWS`]).
    pub(super) fn hand_over(&mut self, up: &[u64], now: u64) {
        let Some((to, at)) = self.successor else { return };
        if now >= at {
            self.successor = None;
            if up.contains(&to) && self.members.contains_key(&to) {
                self.lead(to, now);
            }
        }
    }

    /// The member of this name.
    pub fn member_named(&self, name: &str) -> Option<&Member> {
        self.members.values().find(|member| member.name == name)
    }
}
