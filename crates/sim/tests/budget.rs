//! How many writes does it take to create a cluster? Events and the Lease apart, at most 36 for
//! three and three, whatever the order in which pods start.

#![allow(clippy::unwrap_used)]

use serde_json::json;
use tikv_operator_sim::harness::Harness;

const MOST: usize = 36;

#[test]
fn a_cluster_of_three_and_three_takes_at_most_36_writes() {
    for seed in 0..20 {
        let mut harness = Harness::new(seed);
        harness.create("c", &json!({"pd": {"replicas": 3}, "tikv": {"replicas": 3}})).unwrap();
        assert!(harness.settle(300).is_some(), "seed {seed} does not settle");
        let writes = harness.writes.len();
        assert!(writes <= MOST, "seed {seed}: {writes} writes: {:#?}", harness.writes);
    }
}
