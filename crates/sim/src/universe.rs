//! What is there besides the operator? Kubernetes, machines, PD, TiKV, a client and the clock.

mod alike;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tikv_operator_core::world::PdFacts;

use crate::clock::SECOND;
use crate::dice::Dice;
use crate::kube::{Kube, at, labels, text};
use crate::names::Names;
use crate::node::{Nodes, Processes};
use crate::pd::{Answer, Cluster, Pd, Request};
use crate::tikv::{Moment, Tikv, WRITE_EVERY};

/// The one namespace of the model.
pub const NAMESPACE: &str = "default";

/// What PD does by itself, and not as soon as it can, it does at multiples of this.
const MOVES_EVERY: u64 = 5 * SECOND;
/// After so many seconds without a move there will be none.
const STILL: u64 = 11 * SECOND;

/// The last spec of a cluster that was valid.
#[derive(Clone, Debug, Default)]
pub(crate) struct InForce {
    /// The generation that it had.
    pub(crate) generation: u64,
    /// Null where there has been none.
    pub(crate) spec: Value,
}

/// Everything that is not the operator.
#[derive(Clone, Debug)]
pub struct Universe {
    /// Milliseconds since the beginning.
    pub now: u64,
    /// Chance.
    pub dice: Dice,
    /// The API server.
    pub kube: Kube,
    /// Machines.
    pub nodes: Nodes,
    /// PD.
    pub pd: Pd,
    /// TiKV.
    pub tikv: Tikv,
    /// What is in force of clusters whose spec has a mistake in it, by name: for those who look on.
    pub(crate) in_force: BTreeMap<String, InForce>,
    names: Names,
    named_at: usize,
    /// Pairs between which nothing gets through ([`Names::cut`]).
    cuts: BTreeSet<(String, String)>,
    /// Stores and regions of every PD set as they were when they last changed, and the stores that
    /// were heard then.
    shapes: Vec<(Cluster, Vec<u64>)>,
    /// Since when nothing has moved.
    still_since: u64,
}

impl Universe {
    /// Three machines and nothing on them.
    pub fn new(seed: u64) -> Self {
        let nodes = Nodes::new(&["node-a", "node-b", "node-c"]);
        let mut kube = Kube::default();
        nodes.register(&mut kube);
        Self {
            now: 0,
            dice: Dice::new(seed),
            kube,
            nodes,
            pd: Pd::default(),
            tikv: Tikv::default(),
            in_force: BTreeMap::new(),
            names: Names::default(),
            named_at: usize::MAX,
            cuts: BTreeSet::new(),
            shapes: Vec::new(),
            still_since: 0,
        }
    }

    /// Lets a second pass.
    pub fn tick(&mut self) {
        let version = self.kube.version();
        self.now += SECOND;
        self.kube.set_time(self.now);
        let mut processes = Processes { pd: &mut self.pd, tikv: &mut self.tikv };
        self.nodes.tick(&mut self.kube, &mut processes, self.now, &mut self.dice);
        self.resolve_names();
        self.pd.tick(self.now, &self.names, &mut self.dice);
        let mut moment = Moment { now: self.now, names: &self.names, dice: &mut self.dice };
        self.tikv.tick(&mut self.pd, &mut moment);
        self.write_everywhere();
        for claim in self.kube.sweep() {
            if let Some(disk) = self.nodes.reclaim(&claim) {
                self.pd.wipe(disk);
                self.tikv.disks.remove(&disk);
            }
        }
        self.notice_changes(version);
    }

    /// The spec that a cluster is to follow: its own, or the valid one before a mistake.
    pub(crate) fn spec_in_force(&self, cluster: &str) -> &Value {
        let own = || self.kube.get("TikvCluster", cluster).map(|own| at(own, "/spec"));
        let before = self.in_force.get(cluster).map(|before| &before.spec);
        before.or_else(own).unwrap_or(&Value::Null)
    }

    fn write_everywhere(&mut self) {
        if self.now.is_multiple_of(WRITE_EVERY) {
            for ensemble in &mut self.pd.ensembles {
                self.tikv.write_everywhere(ensemble, self.now);
            }
        }
    }

    fn notice_changes(&mut self, version: usize) {
        let (ensembles, now) = (&self.pd.ensembles, self.now);
        let same = self.shapes.len() == ensembles.len()
            && ensembles.iter().zip(&self.shapes).all(|(ensemble, (shape, heard))| {
                let cluster = &ensemble.cluster;
                cluster.has_shape(shape) && cluster.heard(now).eq(heard.iter().copied())
            });
        if !same {
            let shape = |cluster: &Cluster| (cluster.clone(), cluster.heard(now).collect());
            self.shapes = ensembles.iter().map(|ensemble| shape(&ensemble.cluster)).collect();
        }
        if !same || version != self.kube.version() {
            self.stir();
        }
    }

    /// Somebody did something from outside: the next seconds are not skipped.
    pub fn stir(&mut self) {
        self.still_since = self.now;
    }

    /// Chance begins anew.
    pub(crate) fn throw_anew(&mut self, seed: u64) {
        self.dice = Dice::new(seed);
    }

    /// The first so many changes of the API server have been seen here by all that look for them.
    pub(crate) fn has_seen(&self) -> usize {
        self.nodes.has_seen().min(self.named_at)
    }

    /// The moment before which nothing but heartbeats and writes happens, if nobody interferes; now
    /// or earlier where that cannot be said.
    pub fn next_due(&mut self) -> u64 {
        let all_seen = self.kube.is_swept() && self.named_at == self.kube.version();
        let at_rest = self.pd.ensembles.iter().all(|ensemble| ensemble.cluster.is_at_rest());
        let still_for = self.now - self.still_since;
        if !all_seen || !at_rest || still_for == 0 {
            return self.now;
        }
        let moves = if still_for < STILL {
            self.now - self.now % MOVES_EVERY + MOVES_EVERY
        } else {
            u64::MAX
        };
        let servers = self.pd.next_due(self.now, &self.names);
        let servers = servers.min(self.tikv.next_due(&self.pd, &self.names, self.now));
        if servers <= self.now {
            return self.now;
        }
        let processes = Processes { pd: &mut self.pd, tikv: &mut self.tikv };
        servers.min(self.nodes.next_due(&self.kube, &processes, self.now)).min(moves)
    }

    /// Lets the seconds before `until` pass, in which nothing but heartbeats and writes is due
    /// ([`Universe::next_due`]): the same comes of it as of [`Universe::tick`].
    pub fn skip(&mut self, until: u64) {
        let whole = until.saturating_sub(self.now + 1) / SECOND * SECOND;
        let last = self.now + whole;
        while self.tikv.exited.is_empty() && self.now < last {
            let writes = self.now - self.now % WRITE_EVERY + WRITE_EVERY;
            let beats = self.tikv.next_heartbeat().max(self.now + SECOND);
            self.now = writes.min(beats).min(last);
            let mut moment = Moment { now: self.now, names: &self.names, dice: &mut self.dice };
            self.tikv.beat(&mut self.pd, &mut moment);
            self.write_everywhere();
        }
        self.kube.set_time(self.now);
    }

    /// DNS and Services as they are now.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The answer of a PD process to an HTTP request.
    pub fn ask_pd(&mut self, process: &str, request: Request<'_>) -> Option<Answer> {
        self.pd.answer(process, request, self.now, &self.names)
    }

    /// A whole answer of a PD process, and the leader.
    pub fn pd_facts(&self, process: &str) -> Option<(u64, PdFacts)> {
        self.pd.facts(process, self.now, &self.names)
    }

    fn resolve_names(&mut self) {
        if self.named_at != self.kube.version() {
            if self.kube.has_news(self.named_at, &["Service", "Pod"]) {
                self.names = names_of(&self.kube);
                self.keep_cut();
            }
            self.named_at = self.kube.version();
        }
    }

    /// Cuts the way between two, or heals it: names of pods, or [`crate::names::OPERATOR`].
    pub fn cut(&mut self, one: &str, other: &str, cut: bool) {
        let pair = (one.to_owned(), other.to_owned());
        if cut {
            self.cuts.insert(pair);
        } else {
            self.cuts.remove(&pair);
        }
        self.keep_cut();
        self.stir();
    }

    /// Everything gets through again.
    pub fn heal_all(&mut self) {
        self.cuts.clear();
        self.keep_cut();
    }

    fn keep_cut(&mut self) {
        let pods = self.kube.list("Pod").filter(|_| !self.cuts.is_empty());
        let pods = pods.map(|pod| (pod.uid().to_owned(), pod.name().to_owned())).collect();
        self.names.cut(self.cuts.clone(), pods);
    }
}

/// The names that Services give to pods. Only pods that are ready, unless the Service publishes
/// others too.
fn names_of(kube: &Kube) -> Names {
    let mut names = Names::default();
    for service in kube.list("Service") {
        let Some(selector) = at(service, "/spec/selector").as_object() else { continue };
        let everyone = at(service, "/spec/publishNotReadyAddresses").as_bool() == Some(true);
        let headless = text(service, "/spec/clusterIP") == "None";
        let name = service.name();
        let hosts =
            [name.to_owned(), format!("{name}.{NAMESPACE}"), format!("{name}.{NAMESPACE}.svc")];
        for pod in kube.list("Pod") {
            let reached = !pod.node().is_empty() && (everyone || pod.is_ready());
            let selected = || {
                let has = labels(pod);
                selector.iter().all(|(k, value)| has.and_then(|has| has.get(k)) == Some(value))
            };
            if !reached || !selected() {
                continue;
            }
            let own = headless && text(pod, "/spec/subdomain") == name;
            let own = own.then(|| text(pod, "/spec/hostname"));
            for host in &hosts {
                names.add(host, pod.uid());
                if let Some(pod_host) = own {
                    names.add(&format!("{pod_host}.{host}"), pod.uid());
                }
            }
        }
    }
    names
}
