//! What does a PD process do from its start until it serves, or gives up?

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{DataDir, DiskId, Ensemble, JoinFile, Member, Pd};
use crate::beliefs;
use crate::dice::Dice;
use crate::names::Names;

/// From the file of a join to the first words of its member.
const FIRST_WORDS: u64 = beliefs::JOIN_TAKES.value - beliefs::JOIN_FILE.value;

/// How a process without data is told to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// `initial-cluster` and `initial-cluster-token`.
    Bootstrap {
        /// The token.
        token: String,
        /// Peer URLs by member name.
        members: BTreeMap<String, String>,
    },
    /// `join`: the client URL of a set that exists.
    Join {
        /// Whom to ask.
        url: String,
    },
}

/// Arguments and configuration of a PD process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// `--name`.
    pub name: String,
    /// `--advertise-peer-urls`.
    pub peer_url: String,
    /// `--advertise-client-urls`.
    pub client_url: String,
    /// Start mode of the configuration file.
    pub mode: StartMode,
    /// The configuration file, nested.
    pub settings: Value,
    /// What the process calls its version.
    pub version: String,
}

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Looking at its data directory and configuration.
    Starting,
    /// Added to a set by `join`, nothing on disk yet ([`beliefs::HALF_JOINED_BLOCKS`]).
    Joining {
        /// The set.
        ensemble: usize,
        /// The id that it was given.
        member: u64,
    },
    /// The list in which it found itself is on disk, and etcd is about to start
    /// ([`beliefs::JOIN_FILE`]).
    Joined,
    /// etcd runs: it votes, and its client port is open.
    Running,
    /// Its member was removed and it was started again: open to nobody
    /// ([`beliefs::REMOVED_MEMBER_HANGS`]).
    Hanging,
}

impl Stage {
    /// Its etcd takes part in elections.
    pub fn runs_etcd(self) -> bool {
        self == Self::Running
    }
}

/// One PD process.
#[derive(Clone, Debug)]
pub struct Process {
    /// How it was started.
    pub start: Start,
    /// The volume under its data directory.
    pub disk: DiskId,
    /// When it reached its stage.
    pub since: u64,
    /// How far it is.
    pub stage: Stage,
}

impl Process {
    fn is_starting(&self) -> bool {
        match self.stage {
            Stage::Starting | Stage::Joining { .. } | Stage::Joined => true,
            Stage::Running | Stage::Hanging => false,
        }
    }
}

impl Pd {
    /// Starts a process on a volume.
    pub fn spawn(&mut self, uid: &str, start: Start, disk: DiskId, now: u64) {
        let process = Process { start, disk, since: now, stage: Stage::Starting };
        self.processes.insert(uid.to_owned(), process);
    }

    /// Its client port accepts connections.
    pub fn is_open(&self, uid: &str) -> bool {
        self.processes.get(uid).is_some_and(|process| process.stage.runs_etcd())
    }

    pub(super) fn go_on_starting(&mut self, now: u64, names: &Names, dice: &mut Dice) {
        let starting = self.processes.iter().filter(|(_, process)| process.is_starting());
        let uids: Vec<String> = starting.map(|(uid, _)| uid.clone()).collect();
        for uid in uids {
            let Some(process) = self.processes.get(&uid).cloned() else { continue };
            let waited = now.saturating_sub(process.since);
            let next = match process.stage {
                Stage::Running | Stage::Hanging => continue,
                Stage::Joining { .. } if waited < beliefs::JOIN_FILE.value => continue,
                Stage::Joined if waited < FIRST_WORDS => continue,
                Stage::Joining { ensemble, .. } => self.note_join(&process, ensemble),
                Stage::Joined => self.publish(&process, names),
                Stage::Starting => self.begin(&process, names, dice, now),
            };
            match next {
                Ok(stage) => {
                    if let Some(process) = self.processes.get_mut(&uid) {
                        process.stage = stage;
                        process.since = now;
                    }
                }
                Err(words) => {
                    self.processes.remove(&uid);
                    self.exited.push((uid, words));
                }
            }
        }
    }

    /// etcd gives up after five minutes without a leader ([`beliefs::START_LIMIT`]).
    pub(super) fn give_up_waiting(&mut self, now: u64) {
        let tired = self
            .processes
            .iter()
            .filter(|(_, process)| self.gives_up_at(process).is_some_and(|limit| now >= limit));
        let tired: Vec<String> = tired.map(|(uid, _)| uid.clone()).collect();
        for uid in tired {
            self.processes.remove(&uid);
            self.exited.push((uid, "etcd did not start within its limit".to_owned()));
        }
    }

    /// When a process ends by itself, as things are.
    fn gives_up_at(&self, process: &Process) -> Option<u64> {
        let never_led = || self.disks.get(&process.disk).is_none_or(|data| !data.synced);
        let waits =
            process.stage == Stage::Hanging || (process.stage == Stage::Running && never_led());
        waits.then_some(process.since + beliefs::START_LIMIT.value)
    }

    /// When something is due with a process.
    pub(super) fn process_due(&self, process: &Process, now: u64) -> u64 {
        match process.stage {
            Stage::Starting => now,
            Stage::Joining { .. } => process.since + beliefs::JOIN_FILE.value,
            Stage::Joined => process.since + FIRST_WORDS,
            Stage::Running | Stage::Hanging => self.gives_up_at(process).unwrap_or(u64::MAX),
        }
    }

    fn begin(
        &mut self,
        process: &Process,
        names: &Names,
        dice: &mut Dice,
        now: u64,
    ) -> Result<Stage, String> {
        if let Some(data) = self.disks.get(&process.disk) {
            // With data the start mode is ignored: beliefs::DATA_WINS.
            let member =
                self.ensembles.get(data.ensemble).map(|e| e.members.contains_key(&data.member));
            let known = member.unwrap_or(false);
            return Ok(if known { Stage::Running } else { Stage::Hanging });
        }
        if self.join_files.contains_key(&process.disk) {
            return Ok(Stage::Joined);
        }
        match &process.start.mode {
            StartMode::Bootstrap { token, members } => {
                self.bootstrap(process, (token, members), names, now)
            }
            StartMode::Join { url } => self.join(process, url, names, dice),
        }
    }

    fn bootstrap(
        &mut self,
        process: &Process,
        (token, members): (&str, &BTreeMap<String, String>),
        names: &Names,
        now: u64,
    ) -> Result<Stage, String> {
        let own = &process.start;
        if members.get(&own.name) != Some(&own.peer_url) {
            return Err(format!("{} is not in its initial-cluster with its peer URL", own.name));
        }
        let fingerprint = format!("{token}:{members:?}");
        let member = member_id(&fingerprint, &own.name);
        let known = self.ensembles.iter().rposition(|e| e.fingerprint == fingerprint);
        if let Some(index) = known {
            let published = self.ensembles.get(index).and_then(|e| e.members.get(&member));
            let others = self.reachable(index, names);
            // beliefs::ALREADY_BOOTSTRAPPED; a peer that was wiped too knows nothing to tell.
            let empty = self.without_memory(index, &others);
            let told = others.iter().any(|id| *id != member && !empty.contains(id));
            if told && published.is_some_and(|m| m.client_url.is_some()) {
                return Err(format!("member {member:x} has already been bootstrapped"));
            }
        }
        let ensemble = known.unwrap_or_else(|| {
            let list = members.iter().map(|(name, peer_url)| {
                let id = member_id(&fingerprint, name);
                let member =
                    Member { id, name: name.clone(), peer_url: peer_url.clone(), client_url: None };
                (id, member)
            });
            let mut new = Ensemble::new(fingerprint.clone(), list.collect(), now);
            new.cluster.first_settings(&own.settings);
            self.ensembles.push(new);
            self.ensembles.len() - 1
        });
        self.disks.insert(process.disk, DataDir { ensemble, member, synced: false });
        Ok(Stage::Running)
    }

    fn join(
        &mut self,
        process: &Process,
        url: &str,
        names: &Names,
        dice: &mut Dice,
    ) -> Result<Stage, String> {
        // What it is connected to itself nobody asks: it has no name yet.
        let Some(index) = self.led_by("", url, names) else {
            return Err("join: no member of the cluster answers".to_owned());
        };
        let connected = self.followers(index, names).len();
        let Some(ensemble) = self.ensembles.get_mut(index) else {
            return Err("join: no cluster".to_owned());
        };
        if let Some(half) = ensemble.members.values().find(|member| member.name.is_empty()) {
            return Err(format!("there is a member {} that has not joined successfully", half.id));
        }
        // beliefs::LISTED_BY_NAME
        if ensemble.member_named(&process.start.name).is_some() {
            return Err("missing data or join a duplicated pd".to_owned());
        }
        if connected < ensemble.members.len() {
            return Err("etcdserver: unhealthy cluster".to_owned());
        }
        let id = dice.roll() >> 1;
        let peer_url = process.start.peer_url.clone();
        ensemble.members.insert(id, Member { id, name: String::new(), peer_url, client_url: None });
        Ok(Stage::Joining { ensemble: index, member: id })
    }

    /// The member that was added has found itself in the list, and keeps it.
    fn note_join(&mut self, process: &Process, ensemble: usize) -> Result<Stage, String> {
        let Some(known) = self.ensembles.get(ensemble) else {
            return Err("join failed".to_owned());
        };
        let members = peer_urls(known);
        let own = process.start.peer_url.clone();
        if !members.contains(&own) {
            return Err("join failed, adds the new member may failed".to_owned());
        }
        self.join_files.insert(process.disk, JoinFile { ensemble, own, members });
        Ok(Stage::Joined)
    }

    /// The joined member starts and gives its name. Where the members are not those of its file
    /// any more etcd does not start ([`beliefs::JOINED_LIST`]).
    fn publish(&mut self, process: &Process, names: &Names) -> Result<Stage, String> {
        let file = self.join_files.get(&process.disk);
        let Some(JoinFile { ensemble, own, members }) = file.cloned() else {
            return Err("join failed".to_owned());
        };
        if self.reachable(ensemble, names).is_empty() {
            return Err("cannot fetch cluster info from peer urls".to_owned());
        }
        let known = self.ensembles.get_mut(ensemble).filter(|known| peer_urls(known) == members);
        let mut listed = known.into_iter().flat_map(|known| known.members.values_mut());
        let Some(own) = listed.find(|member| member.peer_url == own) else {
            return Err("error validating peerURLs: member count is unequal".to_owned());
        };
        own.name.clone_from(&process.start.name);
        let member = own.id;
        self.join_files.remove(&process.disk);
        self.disks.insert(process.disk, DataDir { ensemble, member, synced: false });
        Ok(Stage::Running)
    }

    /// Every reachable member of a set with a leader tells the others its client URL.
    pub(super) fn publish_urls(&mut self, index: usize, up: &[u64]) {
        let Some(ensemble) = self.ensembles.get_mut(index) else { return };
        for process in self.processes.values() {
            let Some(data) = self.disks.get(&process.disk) else { continue };
            if data.ensemble != index || !up.contains(&data.member) {
                continue;
            }
            let Some(member) = ensemble.members.get_mut(&data.member) else { continue };
            if member.client_url.as_ref() != Some(&process.start.client_url) {
                member.client_url = Some(process.start.client_url.clone());
            }
        }
    }
}

fn peer_urls(ensemble: &Ensemble) -> BTreeSet<String> {
    ensemble.members.values().map(|member| member.peer_url.clone()).collect()
}

/// etcd computes a first member's id from its URL and the token, so a wiped member comes back with
/// the same one. FNV-1a stands for its hash.
fn member_id(fingerprint: &str, name: &str) -> u64 {
    let bytes = fingerprint.bytes().chain([b'/']).chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
