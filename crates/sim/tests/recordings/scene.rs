//! In which situation was a recording made?

use std::collections::BTreeMap;

use serde_json::Value;
use tikv_operator_sim::dice::Dice;
use tikv_operator_sim::names::Names;
use tikv_operator_sim::pd::{Body, Cluster, Pd, Peer, Region, Request, Start, StartMode};

use crate::replay::{compared, plain, read};

/// A PD set with stores, and the clock.
pub(crate) struct Scene {
    pub(crate) pd: Pd,
    pub(crate) names: Names,
    pub(crate) dice: Dice,
    pub(crate) now: u64,
}

impl Scene {
    /// Members pd-1 to pd-n on loopback, up and with a leader.
    pub(crate) fn with_members(count: u16) -> Self {
        let mut scene =
            Self { pd: Pd::default(), names: Names::default(), dice: Dice::new(3), now: 0 };
        let peer = |n: u16| format!("http://127.0.0.1:1{n}380");
        let members: BTreeMap<_, _> = (1..=count).map(|n| (format!("pd-{n}"), peer(n))).collect();
        for n in 1..=count {
            let uid = format!("pd-{n}");
            scene.names.add(peer(n).trim_start_matches("http://"), &uid);
            let start = Start {
                name: uid.clone(),
                peer_url: peer(n),
                client_url: format!("http://127.0.0.1:1{n}379"),
                mode: StartMode::Bootstrap { token: "pd-cluster".into(), members: members.clone() },
                settings: Value::Null,
                version: "v8.5.7".into(),
            };
            scene.pd.spawn(&uid, start, u64::from(n), 0);
        }
        scene.wait(10);
        scene
    }

    /// One member and three stores that registered, with one region on them.
    pub(crate) fn with_stores() -> Self {
        let mut scene = Self::with_members(1);
        for id in 1..=3 {
            scene.register(id, id - 1);
        }
        let peers = scene.cluster().regions[0].clone();
        assert_eq!(peers, Region::on(2, 1));
        let voters = (1..=3).map(|id| (id, Peer::Voter)).collect();
        scene.cluster().regions[0].peers = voters;
        scene
    }

    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        &mut self.pd.ensembles[0].cluster
    }

    pub(crate) fn register(&mut self, id: u64, ordinal: u64) {
        let address = format!("example-tikv-{ordinal}.example-tikv-peer.default.svc:20160");
        let now = self.now;
        self.cluster().allocate();
        self.cluster().put_store(id, &address, "8.5.7", now).unwrap();
    }

    pub(crate) fn heartbeat(&mut self, ids: &[u64]) {
        let now = self.now;
        for id in ids {
            self.cluster().heartbeat(*id, now).unwrap();
        }
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1000;
            self.pd.tick(self.now, &self.names, &mut self.dice);
        }
    }

    pub(crate) fn kill_leader(&mut self) {
        let leader = self.pd.ensembles[0].leader.unwrap();
        let name = self.pd.ensembles[0].members[&leader].name.clone();
        self.pd.kill(&name);
    }

    /// Asks what was asked when the recording was made, and compares.
    pub(crate) fn replay(&mut self, via: &str, of: &str, name: &str) {
        let recording = read(of, name);
        let request =
            Request { method: &recording.method, path: &recording.path, body: &recording.body };
        let answer = self.pd.answer(via, request, self.now, &self.names);
        let answer = answer.unwrap_or_else(|| panic!("{name}: nobody listens at {via}"));
        assert_eq!(answer.status, recording.status, "{name}: {answer:?}");
        compared(of, name);
        match answer.body {
            Body::Empty => assert_eq!(recording.answer, "", "{name}"),
            Body::Text(text) => assert_eq!(text.trim_end(), recording.answer.trim_end(), "{name}"),
            Body::Json(value) => {
                let recorded: Value = serde_json::from_str(&recording.answer)
                    .unwrap_or_else(|_| panic!("{name}: JSON expected, got {}", recording.answer));
                assert_eq!(plain(value), plain(recorded), "{name}");
            }
        }
    }
}
