//! How does a set of PD processes behave: who is a member, who leads, what is kept on disk?
//!
//! Each data directory belongs to one [`Ensemble`], a consensus history. Which ensemble a start
//! ends in is the whole point of the model: an empty directory that is started in the wrong mode
//! begins a second history, and so a second cluster id.

mod alike;
mod answer;
mod cluster;
mod ensemble;
mod facts;
mod member_answers;
mod process;
mod region;
mod region_answers;
mod schedule;
mod settings;
mod store_answers;

use std::collections::BTreeMap;

pub use answer::{Answer, Body, Request};
pub use cluster::{Cluster, Store, StoreState};
pub use ensemble::{DataDir, Ensemble, JoinFile, Member};
pub use process::{Process, Stage, Start, StartMode};
pub use region::{Peer, Region};
pub use settings::Settings;

use crate::beliefs;
use crate::dice::Dice;
use crate::names::Names;

/// One volume's content is known by the volume.
pub type DiskId = u64;

/// A cluster id came into the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The new id.
    pub cluster_id: u64,
    /// The processes that agreed on it, by name.
    pub by: Vec<String>,
    /// They had data of an earlier history, or their set had had a cluster id already.
    pub forgot: bool,
}

/// Every PD process and every PD data directory.
#[derive(Clone, Debug, Default)]
pub struct Pd {
    /// Consensus histories, never removed.
    pub ensembles: Vec<Ensemble>,
    /// Data directories by the volume that they are on. A wiped volume has none.
    pub disks: BTreeMap<DiskId, DataDir>,
    /// What joins have left on volumes without a data directory so far.
    pub join_files: BTreeMap<DiskId, JoinFile>,
    /// Running processes, by the uid of their pod.
    pub processes: BTreeMap<String, Process>,
    /// Cluster ids made since the last look.
    pub minted: Vec<Minted>,
    /// Processes that ended by themselves since the last look, with their last words.
    pub exited: Vec<(String, String)>,
}

impl Pd {
    /// Lets one moment pass: starts go on, leaders are elected, stores age.
    pub fn tick(&mut self, now: u64, names: &Names, dice: &mut Dice) {
        self.go_on_starting(now, names, dice);
        for index in 0..self.ensembles.len() {
            self.elect(index, now, names, dice);
        }
        self.give_up_waiting(now);
        for ensemble in &mut self.ensembles {
            if ensemble.leader.is_some() {
                ensemble.cluster.tick(now);
            }
        }
    }

    /// The next moment in which something is due here, if nothing else changes; `now` where that is
    /// the next one. What stores and regions do is apart ([`Cluster::is_at_rest`]).
    pub fn next_due(&self, now: u64, names: &Names) -> u64 {
        if names.is_cut() {
            return now;
        }
        let processes = self.processes.values().map(|process| self.process_due(process, now));
        let ensembles = (0..self.ensembles.len()).map(|index| self.ensemble_due(index, now, names));
        processes.chain(ensembles).min().unwrap_or(u64::MAX)
    }

    fn ensemble_due(&self, index: usize, now: u64, names: &Names) -> u64 {
        let Some(ensemble) = self.ensembles.get(index) else { return u64::MAX };
        if self.processes.is_empty() && ensemble.leader.is_none() {
            return u64::MAX;
        }
        let up = self.reachable(index, names);
        let able = up.len() >= ensemble.quorum();
        match ensemble.leader {
            Some(leader) if able && up.contains(&leader) && ensemble.successor.is_none() => {
                ensemble.cluster.next_due(now)
            }
            None if !able => u64::MAX,
            Some(_) | None => now,
        }
    }

    /// Ends a process at once; its data directory stays.
    pub fn kill(&mut self, process: &str) {
        self.processes.remove(process);
    }

    /// Empties a volume.
    pub fn wipe(&mut self, disk: DiskId) {
        self.disks.remove(&disk);
        self.join_files.remove(&disk);
    }

    /// The ensemble whose data a process has.
    pub fn ensemble_of(&self, process: &str) -> Option<usize> {
        let disk = self.processes.get(process)?.disk;
        Some(self.disks.get(&disk)?.ensemble)
    }

    /// The ensemble with a leader that answers `from` under a URL: clients of PD ask any member who
    /// leads, and then the leader itself.
    pub fn led_by(&self, from: &str, url: &str, names: &Names) -> Option<usize> {
        let mut answering =
            names.resolve(url).iter().filter(|process| names.connects(from, process));
        answering.find_map(|process| {
            let ensemble = self.ensemble_of(process)?;
            self.ensembles.get(ensemble)?.leader?;
            self.hears_leader(from, ensemble, names).then_some(ensemble)
        })
    }

    /// There is a way from a process to the leader.
    fn hears_leader(&self, from: &str, index: usize, names: &Names) -> bool {
        if !names.is_cut() {
            return true;
        }
        let leader = self.ensembles.get(index).and_then(|ensemble| ensemble.leader);
        let mut peers = self.peers(index, names).into_iter();
        peers.any(|(member, uid)| Some(member) == leader && names.connects(from, uid))
    }

    /// Members of an ensemble whose process runs and can be dialled by the others, with the process.
    fn peers<'s>(&'s self, ensemble: usize, names: &Names) -> Vec<(u64, &'s str)> {
        let Some(known) = self.ensembles.get(ensemble) else { return Vec::new() };
        let up = self.processes.iter().filter_map(|(uid, process)| {
            let data = self.disks.get(&process.disk)?;
            let member = known.members.get(&data.member)?;
            let runs = process.stage.runs_etcd() && data.ensemble == ensemble;
            (runs && names.leads_to(&member.peer_url, uid)).then_some((data.member, uid.as_str()))
        });
        up.collect()
    }

    /// Those members, as anybody could dial them.
    fn reachable(&self, ensemble: usize, names: &Names) -> Vec<u64> {
        ids(self.peers(ensemble, names).into_iter())
    }

    /// Those that a process can dial.
    fn reached_from(&self, from: &str, ensemble: usize, names: &Names) -> Vec<u64> {
        let peers = self.peers(ensemble, names).into_iter();
        ids(peers.filter(|(_, uid)| names.connects(from, uid)))
    }

    /// Those that a member can dial, itself included.
    fn reached_by(&self, member: u64, ensemble: usize, names: &Names) -> Vec<u64> {
        let peers = self.peers(ensemble, names);
        let Some((_, own)) = peers.iter().find(|(id, _)| *id == member).copied() else {
            return Vec::new();
        };
        ids(peers.into_iter().filter(|(_, uid)| names.connects(own, uid)))
    }

    /// Those that the leader can dial.
    fn followers(&self, index: usize, names: &Names) -> Vec<u64> {
        let leader = self.ensembles.get(index).and_then(|ensemble| ensemble.leader);
        leader.map_or_else(Vec::new, |leader| self.reached_by(leader, index, names))
    }

    /// Elects a leader where there is a majority, keeps it while a majority hears it.
    fn elect(&mut self, index: usize, now: u64, names: &Names, dice: &mut Dice) {
        let following = self.followers(index, names);
        let Some(ensemble) = self.ensembles.get_mut(index) else { return };
        let quorum = ensemble.quorum();
        if ensemble.leader.is_some() && following.len() >= quorum {
            let up = following;
            ensemble.hand_over(&up, now);
            self.publish_urls(index, &up);
            self.sync(index, &up);
            return;
        }
        if ensemble.leader.take().is_some() {
            ensemble.leaderless_since = now;
        }
        let waited = now.saturating_sub(ensemble.leaderless_since);
        let up = self.reachable(index, names);
        if up.len() < quorum || waited < beliefs::ELECTION.value {
            return;
        }
        let empty = self.without_memory(index, &up);
        let Some(ensemble) = self.ensembles.get(index) else { return };
        if ensemble.cluster_id.is_some() && empty.len() >= quorum {
            self.fork(index, &empty, dice, now);
            return;
        }
        let known = ensemble.cluster_id.is_some();
        let able = |id: &u64| {
            let heard = !names.is_cut() || self.reached_by(*id, index, names).len() >= quorum;
            heard && !(known && empty.contains(id))
        };
        let choice: Vec<u64> = up.iter().copied().filter(able).collect();
        let Some(leader) = dice.pick(&choice).copied() else { return };
        if let Some(ensemble) = self.ensembles.get_mut(index) {
            ensemble.lead(leader, now);
        }
        if !known {
            self.mint(index, &up, false, dice);
        }
        let up = self.followers(index, names);
        self.publish_urls(index, &up);
        self.sync(index, &up);
    }

    /// Members among `up` whose directory knows nothing of what the ensemble has agreed on.
    fn without_memory(&self, ensemble: usize, up: &[u64]) -> Vec<u64> {
        let unsynced = self.disks.values().filter(|data| data.ensemble == ensemble && !data.synced);
        unsynced.map(|data| data.member).filter(|member| up.contains(member)).collect()
    }

    fn sync(&mut self, ensemble: usize, members: &[u64]) {
        for data in self.disks.values_mut() {
            data.synced |= data.ensemble == ensemble && members.contains(&data.member);
        }
    }

    /// A majority that remembers nothing elects itself: a new history under old names
    /// ([`beliefs::EMPTY_MAJORITY_FORKS`]).
    fn fork(&mut self, index: usize, members: &[u64], dice: &mut Dice, now: u64) {
        let Some(old) = self.ensembles.get(index) else { return };
        let new = Ensemble::new(old.fingerprint.clone(), old.members.clone(), now);
        let fork = self.ensembles.len();
        self.ensembles.push(new);
        for data in self.disks.values_mut() {
            if data.ensemble == index && members.contains(&data.member) && !data.synced {
                data.ensemble = fork;
            }
        }
        self.mint(fork, members, true, dice);
        self.sync(fork, members);
    }

    /// The member on a volume becomes the only one of a history of its own, with all that it knows
    /// ([`beliefs::FORCE_NEW_CLUSTER`]). Those that it leaves go on as before.
    pub fn stand_alone(&mut self, index: usize, disk: DiskId, now: u64) {
        let alone = self.ensembles.len();
        let data = self.disks.get_mut(&disk).filter(|data| data.ensemble == index);
        let (Some(data), Some(old)) = (data, self.ensembles.get_mut(index)) else { return };
        let mut new = old.clone();
        new.fingerprint.push_str(" alone");
        new.members.retain(|id, _| *id == data.member);
        (new.leader, new.successor, new.leaderless_since) = (None, None, now);
        data.ensemble = alone;
        if old.leader == Some(data.member) {
            (old.leader, old.leaderless_since) = (None, now);
        }
        self.ensembles.push(new);
    }

    fn mint(&mut self, index: usize, members: &[u64], forgot: bool, dice: &mut Dice) {
        let Some(ensemble) = self.ensembles.get_mut(index) else { return };
        // PD makes ids above 2^53, so that a client that reads them as doubles is found out.
        let cluster_id = (7_u64 << 60) | (dice.roll() >> 8);
        ensemble.cluster_id = Some(cluster_id);
        let named = members.iter().filter_map(|id| ensemble.members.get(id));
        let by = named.map(|member| member.name.clone()).collect();
        self.minted.push(Minted { cluster_id, by, forgot });
    }
}

/// Ids of members, in order and each once.
fn ids<'s>(peers: impl Iterator<Item = (u64, &'s str)>) -> Vec<u64> {
    let mut ids: Vec<u64> = peers.map(|(id, _)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
