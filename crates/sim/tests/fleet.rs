//! What becomes of many clusters that one operator looks after, when all lose the same at once?

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use serde_json::json;
use tikv_operator_sim::harness::Harness;
use tikv_operator_sim::kube::{Verb, uid_of};
use tikv_operator_sim::names::OPERATOR;

const CLUSTERS: usize = 100;

fn pods(harness: &Harness) -> BTreeSet<String> {
    harness.universe.kube.list("Pod").map(|pod| uid_of(pod).to_owned()).collect()
}

/// Writes to anything but a status since `before`.
fn deeds(harness: &Harness, before: usize) -> Vec<String> {
    let writes = harness.writes.iter().skip(before);
    let deeds = writes.filter(|(verb, _)| *verb != Verb::ApplyStatus);
    deeds.map(|(verb, key)| format!("{} {key}", verb.as_str())).collect()
}

#[test]
fn f80_a_hundred_clusters_that_lose_pd_at_once_lose_nothing_else() {
    let mut harness = Harness::new(1);
    let names: Vec<String> = (0..CLUSTERS).map(|n| format!("c-{n}")).collect();
    for name in &names {
        harness.create(name, &json!({"pd": {"replicas": 1}, "tikv": {"replicas": 1}})).unwrap();
    }
    harness.settle(600).expect("settles");
    let (before, writes) = (pods(&harness), harness.writes.len());
    harness.universe.cut(OPERATOR, "c-*", true);
    harness.run(1800);
    assert_eq!(deeds(&harness, writes), Vec::<String>::new());
    assert_eq!(pods(&harness), before);
    // And no storm when all are back.
    harness.universe.cut(OPERATOR, "c-*", false);
    harness.settle(600).expect("settles again");
    assert_eq!(deeds(&harness, writes), Vec::<String>::new());
    let told = harness.writes.len() - writes;
    assert!(told <= 6 * CLUSTERS, "{told} writes of statuses");
    assert_eq!(harness.auditor.findings, Vec::new());
}

#[test]
fn s93_a_hundred_idle_clusters_are_not_written_for_ten_minutes() {
    let mut harness = Harness::new(1);
    for n in 0..CLUSTERS {
        let spec = json!({"pd": {"replicas": 1}, "tikv": {"replicas": 1}});
        harness.create(&format!("c-{n}"), &spec).unwrap();
    }
    harness.settle(600).expect("settles");
    let writes = harness.writes.len();
    harness.run(600);
    assert_eq!(harness.writes.get(writes..), Some(&[][..]));
    assert_eq!(harness.auditor.findings, Vec::new());
}
