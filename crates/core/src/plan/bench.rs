//! How fast is planning? Measured, not asserted: `cargo test --release -p tikv-operator-core --lib
//! bench -- --ignored --nocapture` prints it.

use std::time::Instant;

use serde_json::json;

use super::plan;
use crate::cluster::Cluster;
use crate::fixture;
use crate::world::World;

/// Mean time of one plan, in microseconds.
#[allow(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn measure(cluster: &Cluster, world: &World, passes: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..passes {
        let plan = plan(std::hint::black_box(cluster), std::hint::black_box(world));
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(passes)
}

#[test]
#[ignore = "a measurement"]
fn bench_of_passes_without_steps() {
    for (pd, tikv, passes) in [(3, 3, 2_000), (5, 30, 200), (100, 1_000, 3)] {
        let mut cluster = fixture::cluster(json!({"tikv": {"replicas": tikv}}));
        // More than `check` lets anyone ask for.
        cluster.pd.replicas = pd;
        let world = fixture::settled(&cluster);
        let time = measure(&cluster, &world, passes);
        println!("plan of {pd} PD + {tikv} TiKV: {time:.1} us, {:.0} a second", 1e6 / time);
    }
}
