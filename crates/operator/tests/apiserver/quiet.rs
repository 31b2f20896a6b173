//! What does a cluster cost the API server when nothing happens?

use std::time::Duration;

use crate::{PATIENCE, operator::create_cluster, stage::Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_cluster_is_neither_read_nor_written() {
    let stage = Stage::new("quiet", "c").await;
    let Stage { server, pd, user, .. } = &stage;
    create_cluster(&stage.admin, &stage.namespace, "c").await;
    let operator = stage.operator();
    stage.ready("c").await;
    let without_lease = |mut calls: std::collections::BTreeMap<(String, String), usize>| {
        calls.retain(|(_, resource), _| resource != "leases");
        calls
    };
    // What comes after Ready (the last counts) may still be written.
    let start = std::time::Instant::now();
    let mut before = without_lease(server.calls(user));
    loop {
        tokio::time::sleep(Duration::from_secs(15)).await;
        let now = without_lease(server.calls(user));
        if now == before {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it does not come to rest: {now:?}");
        before = now;
    }
    let asked = pd.calls();
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(without_lease(server.calls(user)), before);
    assert!(pd.calls() > asked, "PD is still polled");
    println!("ended after {:?}", operator.end().await);
}
