//! The API server cannot be reached for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use kube::{Config, api::DeleteParams};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::{PATIENCE, operator::create_cluster, server::api, stage::Stage};

/// Longer than the holder of the lease goes on without a renewal.
const OUTAGE: Duration = Duration::from_secs(12);

/// A wire to the API server that can be cut.
pub(crate) async fn wire(config: &mut Config) -> Arc<AtomicBool> {
    let target = config.cluster_url.authority().unwrap().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    config.cluster_url = format!("https://127.0.0.1:{port}").parse().unwrap();
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = Arc::clone(&cut);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            if is_cut.load(Ordering::SeqCst) {
                continue;
            }
            let (is_cut, target) = (Arc::clone(&is_cut), target.clone());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(target).await.unwrap();
                let until_cut = async {
                    while !is_cut.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = until_cut => {}
                }
            });
        }
    });
    cut
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_operator_goes_on_and_has_touched_no_pod() {
    let mut stage = Stage::new("outage", "c").await;
    let cut = wire(&mut stage.config).await;
    let Stage { server, admin, namespace, user, .. } = &stage;
    create_cluster(admin, namespace, "c").await;
    let _operator = stage.operator();
    stage.ready("c").await;
    let before = stage.pod_uids().await;

    cut.store(true, Ordering::SeqCst);
    let services = api(admin, "", "Service", namespace);
    services.delete("c-pd-peer", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(OUTAGE).await;
    assert!(services.get_opt("c-pd-peer").await.unwrap().is_none(), "the wire is not cut");
    let calls: usize = server.calls(user).values().sum();
    cut.store(false, Ordering::SeqCst);
    let start = Instant::now();
    while services.get_opt("c-pd-peer").await.unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "the operator does not go on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let calls = server.calls(user).values().sum::<usize>() - calls;
    println!("went on after {:?} with {calls} calls", start.elapsed());
    assert!(calls < 100, "{calls} calls at once");
    assert_eq!(stage.pod_uids().await, before);
}
