//! What does a cluster cost the API server when nothing happens?

use std::{sync::Arc, time::Duration};

use kube::Client;

use crate::{
    PATIENCE,
    kubelet::Kubelet,
    operator::{Operator, create_cluster, has, wait_for},
    pd::Pd,
    server::server,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_cluster_is_neither_read_nor_written() {
    let server = server().await;
    let namespace = server.namespace("quiet").await;
    let admin = server.admin();
    let pd = Pd::run(&admin, &namespace, "c").await;
    let _kubelet = Kubelet::run(&admin, &namespace, Arc::new(|_| true));
    let (config, user) = server.operator();
    create_cluster(&admin, &namespace, "c").await;
    let client = Client::try_from(config).unwrap();
    let operator = Operator::start(client, &namespace, "quiet", &pd.address);
    wait_for(&admin, &namespace, "c", PATIENCE, |resource| has(resource, "Ready", "True")).await;
    let without_lease = |mut calls: std::collections::BTreeMap<(String, String), usize>| {
        calls.retain(|(_, resource), _| resource != "leases");
        calls
    };
    // What comes after Ready (the last counts) may still be written.
    let start = std::time::Instant::now();
    let mut before = without_lease(server.calls(&user));
    loop {
        tokio::time::sleep(Duration::from_secs(15)).await;
        let now = without_lease(server.calls(&user));
        if now == before {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it does not come to rest: {now:?}");
        before = now;
    }
    let asked = pd.calls();
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(without_lease(server.calls(&user)), before);
    assert!(pd.calls() > asked, "PD is still polled");
    println!("ended after {:?}", operator.end().await);
}
