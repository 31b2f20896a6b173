//! How is a script played on the model of PD?

use std::collections::BTreeMap;

use serde_json::Value;
use tikv_operator_sim::dice::Dice;
use tikv_operator_sim::names::Names as Hosts;
use tikv_operator_sim::pd::{Body, Cluster, Pd, Peer, Request, Start, StartMode};

use crate::pd_call::{self, Ask, Call, Deed};
use crate::script::Script;
use crate::shown::Names;

/// How long an answer that comes soon is waited for, in seconds of the model.
const SOON: u64 = 60;

/// PD's members, and the clock.
struct Stage {
    pd: Pd,
    hosts: Hosts,
    dice: Dice,
    now: u64,
    members: usize,
}

/// The answers to a script's calls.
pub(crate) fn play(script: &Script) -> Vec<Vec<String>> {
    let (pd, hosts, dice) = (Pd::default(), Hosts::default(), Dice::new(3));
    let mut stage = Stage { pd, hosts, dice, now: 0, members: 0 };
    let mut names = Names::default();
    let mut answer = |(line, written): (&str, &[String])| match Call::read(line, &names) {
        Call::Deed(deed) => stage.happen(deed).into_iter().collect(),
        Call::Ask(ask) => {
            let mut left = if ask.soon { SOON } else { 0 };
            loop {
                let shown = stage.answer(&ask, &mut names);
                if shown == written || left == 0 {
                    break shown;
                }
                stage.wait(1);
                left -= 1;
            }
        }
    };
    script.calls().map(&mut answer).collect()
}

impl Stage {
    fn answer(&mut self, ask: &Ask, names: &mut Names) -> Vec<String> {
        let request = Request { method: &ask.method, path: &ask.path, body: &ask.body };
        let Some(answer) = self.pd.answer(&ask.member, request, self.now, &self.hosts) else {
            return vec!["no answer".to_owned()];
        };
        let body = match answer.body {
            Body::Empty => pd_call::Body::Empty,
            Body::Json(value) => pd_call::Body::Json(value),
            Body::Text(words) => pd_call::Body::Text(words),
        };
        ask.show(answer.status, body, names)
    }

    /// What a store is told, if it is told something.
    fn happen(&mut self, deed: Deed) -> Option<String> {
        match deed {
            Deed::Members(count) => {
                self.members = count;
                for n in 1..=count {
                    self.hosts.add(peer_url(n).trim_start_matches("http://"), &format!("pd-{n}"));
                    self.start(n);
                }
                self.wait(10);
            }
            Deed::Lead(name) => self.lead(&name),
            Deed::Kill(name) => self.pd.kill(&name),
            Deed::Start(name) => {
                self.start(name.trim_start_matches("pd-").parse().unwrap());
                self.wait(10);
            }
            Deed::Register { id, ordinal, version } => {
                let address = format!("example-tikv-{ordinal}.example-tikv-peer.default.svc:20160");
                let now = self.now;
                let refused = self.cluster().put_store(id, &address, &version, now);
                return refused.err().map(|words| pd_call::kind_of(&words));
            }
            Deed::Beat(stores) => {
                let now = self.now;
                let refused =
                    stores.into_iter().find_map(|id| self.cluster().heartbeat(id, now).err());
                return refused.map(pd_call::kind_of);
            }
            Deed::Region { stores, pending } => {
                let region = &mut self.cluster().regions[0];
                region.peers = stores.iter().map(|id| (*id, Peer::Voter)).collect();
                region.behind = pending.into_iter().collect();
                region.leader = stores.first().copied();
                region.reported = region.leader;
            }
        }
        None
    }

    fn start(&mut self, n: usize) {
        let peers: BTreeMap<_, _> =
            (1..=self.members).map(|n| (format!("pd-{n}"), peer_url(n))).collect();
        let start = Start {
            name: format!("pd-{n}"),
            peer_url: peer_url(n),
            client_url: format!("http://127.0.0.1:1{n}379"),
            mode: StartMode::Bootstrap { token: "pd-cluster".to_owned(), members: peers },
            settings: Value::Null,
            version: "v8.5.7".to_owned(),
        };
        self.pd.spawn(&format!("pd-{n}"), start, n as u64, self.now);
    }

    fn lead(&mut self, name: &str) {
        let path = format!("/pd/api/v1/leader/transfer/{name}");
        let request = Request { method: "POST", path: &path, body: &Value::Null };
        self.pd.answer(name, request, self.now, &self.hosts);
        self.wait(10);
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1000;
            self.pd.tick(self.now, &self.hosts, &mut self.dice);
        }
    }

    fn cluster(&mut self) -> &mut Cluster {
        &mut self.pd.ensembles[0].cluster
    }
}

fn peer_url(n: usize) -> String {
    format!("http://127.0.0.1:1{n}380")
}
