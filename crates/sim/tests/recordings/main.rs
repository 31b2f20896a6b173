//! Does the model answer as a real PD v8.5.7 and a real TiKV did? Every recording is replayed as
//! request and answer, in the situation in which it was made. Which ones were is noted while it
//! happens; those about which the model has nothing to say are named with the reason
//! (docs/adr/0010-recordings-outside-the-model.md).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

mod replay;
mod scene;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tikv_operator_sim::pd::{Peer, Region, Request, StoreState};
use tikv_operator_sim::tikv;

use crate::replay::{assert_sections, compared, directory, read, take_compared};
use crate::scene::Scene;

/// Three members, no TiKV; then one dies, then the majority.
const MEMBERS: &[(&str, &[&str])] = &[
    (
        "all up",
        &[
            "cluster-status-unbootstrapped.txt",
            "cluster.txt",
            "config-replicate.txt",
            "etcd-health.txt",
            "health.txt",
            "leader.txt",
            "members.txt",
            "ready-v2-unbootstrapped.txt",
            "readyz-v2.txt",
            "store-unknown-unbootstrapped.txt",
            "stores-unbootstrapped.txt",
            "version.txt",
            "config-post-ok.txt",
            "config-post-unknown.txt",
            "schedulers-unbootstrapped.txt",
            "member-delete-unknown.txt",
            "transfer-unknown.txt",
            "maintenance-none.txt",
            "maintenance-put.txt",
            "maintenance-get.txt",
            "maintenance-conflict.txt",
            "maintenance-delete.txt",
        ],
    ),
    ("one dead", &["health-one-dead.txt", "members-one-dead.txt"]),
    ("dead one removed", &["member-delete-dead.txt", "members-after-delete.txt"]),
    (
        "majority lost",
        &["health-quorum-lost.txt", "members-quorum-lost.txt", "stores-quorum-lost.txt"],
    ),
];

fn members_answer_as_recorded() {
    let mut scene = Scene::with_members(3);
    let transfer =
        Request { method: "POST", path: "/pd/api/v1/leader/transfer/pd-1", body: &Value::Null };
    scene.pd.answer("pd-2", transfer, scene.now, &scene.names);
    scene.wait(3);
    let config =
        scene.pd.answer("pd-2", Request::get("/pd/api/v1/config"), scene.now, &scene.names);
    assert_sections("pd", "config.txt", config.unwrap().value().unwrap(), 5);
    for name in MEMBERS[0].1 {
        scene.replay("pd-2", "pd", name);
    }
    scene.kill_leader();
    scene.replay("pd-2", "pd", "members-just-after-leader-killed.txt");
    scene.wait(10);
    let transfer = Request { path: "/pd/api/v1/leader/transfer/pd-2", ..transfer };
    scene.pd.answer("pd-2", transfer, scene.now, &scene.names);
    scene.wait(3);
    for name in MEMBERS[1].1.iter().chain(MEMBERS[2].1) {
        scene.replay("pd-2", "pd", name);
    }
    scene.pd.kill("pd-3");
    scene.wait(10);
    for name in MEMBERS[3].1 {
        scene.replay("pd-2", "pd", name);
    }
}

/// One member, stores that come, fall silent, leave and are gone: in the order of the session.
const STORES: &[&str] = &[
    "cluster-status.txt",
    "ready-v2.txt",
    "regions-count.txt",
    "regions-check-miss.txt",
    "regions-check-down.txt",
    "schedulers.txt",
    "evict-list-none.txt",
    "evict-add.txt",
    "evict-add-again.txt",
    "evict-add-second.txt",
    "evict-add-string-id.txt",
    "evict-add-unknown-store.txt",
    "evict-list.txt",
    "schedulers-with-evict.txt",
    "evict-delete.txt",
    "evict-delete-again.txt",
    "evict-delete-second.txt",
    "evict-delete-second-again.txt",
    "store-unknown.txt",
    "store-not-a-number.txt",
    "stores-bad-state.txt",
    "stores-progress-none.txt",
    "store-delete-not-enough.txt",
    "unsafe-show.txt",
];

fn stores_answer_as_recorded() {
    let mut scene = Scene::with_stores();
    scene.replay("pd-1", "pd", "stores-never-heartbeated.txt");
    scene.wait(1);
    scene.heartbeat(&[1, 2, 3]);
    scene.replay("pd-1", "pd", "stores-up.txt");
    scene.replay("pd-1", "pd", "store-up.txt");
    for name in STORES {
        scene.replay("pd-1", "pd", name);
    }
    scene.replay("pd-1", "pd", "label-set.txt");
    scene.replay("pd-1", "pd", "label-unknown-store.txt");
}

fn leaving_stores_answer_as_recorded() {
    let mut scene = Scene::with_stores();
    scene.register(10, 3);
    scene.heartbeat(&[1, 2, 3, 10]);
    scene.wait(12);
    scene.heartbeat(&[1, 2, 3]);
    scene.heartbeat(&[10]);
    let label = read("pd", "label-set.txt");
    let request = Request { method: "POST", path: &label.path, body: &label.body };
    scene.pd.answer("pd-1", request, scene.now, &scene.names);
    scene.replay("pd-1", "pd", "stores-four-up.txt");
    for _ in 0..3 {
        scene.wait(8);
        scene.heartbeat(&[2, 3, 10]);
    }
    scene.replay("pd-1", "pd", "stores-one-disconnected.txt");
    scene.replay("pd-1", "pd", "config-max-down.txt");
    for name in [
        "stores-one-down.txt",
        "stores-check-down.txt",
        "store-delete-down.txt",
        "store-delete-again.txt",
        "stores-offline.txt",
        "stores-progress.txt",
        "store-cancel-offline.txt",
        "store-after-cancel.txt",
        "store-delete-third.txt",
    ] {
        scene.replay("pd-1", "pd", name);
    }
    while scene.cluster().stores[&1].state != StoreState::Tombstone {
        scene.wait(5);
        scene.heartbeat(&[2, 3, 10]);
        promote(&mut scene);
    }
    for name in [
        "store-tombstone.txt",
        "stores-after-tombstone.txt",
        "stores-tombstone.txt",
        "store-cancel-tombstone.txt",
        "store-delete-tombstone.txt",
        "remove-tombstone.txt",
        "store-purged.txt",
        "hot-config.txt",
    ] {
        scene.replay("pd-1", "pd", name);
    }
}

/// Without a TiKV in this test, learners are made voters by hand.
fn promote(scene: &mut Scene) {
    for region in &mut scene.cluster().regions {
        for peer in region.peers.values_mut() {
            *peer = Peer::Voter;
        }
    }
}

/// PD's answers to a real TiKV of 9.0.0-beta.2 with three stores, in `tikv/`.
fn pd_beside_a_real_tikv_answers_as_recorded() {
    let mut scene = Scene::with_stores();
    scene.heartbeat(&[1, 2, 3]);
    for name in ["pd-cluster-status.txt", "pd-schedulers.txt", "pd-regions-check-pending.txt"] {
        scene.replay("pd-1", "tikv", name);
    }
    for _ in 0..4 {
        let id = scene.cluster().allocate();
        scene.cluster().regions.push(Region::on(id, 1));
    }
    scene.replay("pd-1", "tikv", "pd-regions-count.txt");
    let stores = scene.cluster().stores.values_mut();
    for (store, port) in stores.zip([24161, 24160, 24162]) {
        store.address = format!("127.0.0.1:{port}");
        "9.0.0-beta.2".clone_into(&mut store.version);
    }
    scene.wait(12);
    scene.heartbeat(&[1, 2, 3]);
    scene.replay("pd-1", "tikv", "pd-stores.txt");
}

/// Changes of a running store's configuration, in the order of the session.
const CHANGES: &[&str] = &[
    "config-post-online-ok.txt",
    "config-post-online.txt",
    "config-post-offline.txt",
    "config-post-bad-value.txt",
    "config-post-two.txt",
    "config-post-unknown.txt",
    "config-post-wrong-type.txt",
];

fn a_store_answers_as_recorded() {
    let mut config = tikv::effective(&Value::Null).unwrap();
    assert_sections("tikv", "config.txt", &config, 8);
    for name in CHANGES {
        let recording = read("tikv", name);
        let items = serde_json::from_value(recording.body).unwrap();
        compared("tikv", name);
        match tikv::change(&mut config, &items) {
            Ok(()) => {
                assert_eq!((recording.status, recording.answer.as_str()), (200, ""), "{name}");
            }
            Err(words) => assert_eq!((recording.status, recording.answer), (500, words), "{name}"),
        }
    }
    assert_eq!(config["server"]["snap-io-max-bytes-per-sec"], "64MiB", "all items or none");
}

/// The recorded store leads its five regions.
fn a_store_counts_its_leaders_as_recorded() {
    let name = "metrics-excerpt.txt";
    let excerpt = fs::read_to_string(directory("tikv").join(name)).unwrap();
    let store = tikv::StatusAnswer { regions: 5, leaders: 5, config: Value::Null.into() };
    for line in store.metrics().lines() {
        assert!(excerpt.lines().any(|recorded| recorded == line), "{name}: no {line}");
    }
    assert_eq!(tikv::leaders(&excerpt), Some(5), "{name}");
    compared("tikv", name);
}

/// Recordings about which the model has nothing to say, and why.
const OUTSIDE: &[(&str, &str)] = &[
    ("pd/status.txt", "which build it is: no decision looks at it"),
    ("tikv/engine-type.txt", "no decision looks at it"),
    ("tikv/ready.txt", "not in v8.5; readiness in the model is the open service port"),
    ("tikv/region-unknown.txt", "of single regions PD is asked"),
    ("tikv/status.txt", "an empty page: that the port is open"),
    ("tikv/unknown-path.txt", "the model's status port has no paths but those that are asked for"),
];

#[test]
fn every_recording_is_answered_alike_or_named_as_outside() {
    members_answer_as_recorded();
    stores_answer_as_recorded();
    leaving_stores_answer_as_recorded();
    pd_beside_a_real_tikv_answers_as_recorded();
    a_store_answers_as_recorded();
    a_store_counts_its_leaders_as_recorded();
    let compared = take_compared();
    let mut all = BTreeSet::new();
    for of in ["pd", "tikv"] {
        let names = fs::read_dir(directory(of)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        all.extend(
            names
                .filter(|name| Path::new(name).extension().is_some_and(|end| end == "txt"))
                .map(|name| format!("{of}/{name}")),
        );
    }
    assert!(all.len() > 80, "{} recordings", all.len());
    let outside: BTreeSet<String> = OUTSIDE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let both: Vec<_> = compared.intersection(&outside).collect();
    assert!(both.is_empty(), "named as outside, and replayed: {both:?}");
    let known: BTreeSet<String> = compared.union(&outside).cloned().collect();
    let left: Vec<_> = all.difference(&known).collect();
    assert!(left.is_empty(), "nothing replays {left:?}");
    let gone: Vec<_> = known.difference(&all).collect();
    assert!(gone.is_empty(), "not there: {gone:?}");
}
