//! Two replicas and one lease, on a real API server.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tikv_operator::{
    lease::{Candidate, Election, Fence, Terms},
    metrics::Metrics,
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{PATIENCE, server::server};

/// The defaults of the flags.
const TERMS: Terms = Terms {
    duration: Duration::from_secs(15),
    deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

struct Replica {
    leads: watch::Receiver<bool>,
    fence: Fence,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn replica(client: &Client, namespace: &str, name: &str) -> Replica {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let fence = Fence::new();
    let election = Election::new(name.to_owned(), TERMS);
    let candidate =
        Candidate::new(api, "lease".to_owned(), election, fence.clone(), Metrics::new());
    let leads = candidate.subscribe();
    let (stop, stopped) = watch::channel(false);
    Replica { leads, fence, stop, task: tokio::spawn(candidate.run(stopped)) }
}

async fn took_over(replica: &mut Replica) -> Duration {
    let start = Instant::now();
    let wait = replica.leads.wait_for(|leads| *leads);
    tokio::time::timeout(PATIENCE, wait).await.expect("nobody took over").unwrap();
    start.elapsed()
}

async fn two(namespace: &str) -> (Replica, Replica) {
    let server = server().await;
    let namespace = server.namespace(namespace).await;
    let client = Client::try_from(server.operator().0).unwrap();
    let mut first = replica(&client, &namespace, "first");
    took_over(&mut first).await;
    let second = replica(&client, &namespace, "second");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!*second.leads.borrow() && !second.fence.is_open(), "one acts at a time");
    assert!(first.fence.is_open());
    (first, second)
}

#[tokio::test]
async fn after_sigterm_the_other_replica_acts_before_the_lease_would_end() {
    let (first, mut second) = two("lease-released").await;
    first.stop.send_replace(true);
    let took = took_over(&mut second).await;
    println!("took over {took:?} after SIGTERM");
    assert!(took < TERMS.duration / 2, "{took:?}: it was not released");
    first.task.await.unwrap();
    assert!(!first.fence.is_open() && second.fence.is_open());
}

#[tokio::test]
async fn after_a_hard_kill_the_other_replica_acts_when_the_lease_has_ended_and_not_before() {
    let (first, mut second) = two("lease-killed").await;
    first.task.abort();
    let took = took_over(&mut second).await;
    println!("took over {took:?} after a kill");
    assert!(took > TERMS.duration / 2, "{took:?}: two may have acted");
    assert!(!first.fence.is_open(), "the dead one's lease has ended by its own clock");
}

#[tokio::test]
async fn a_replica_whose_lease_was_taken_stops_at_its_next_look() {
    let (mut first, second) = two("lease-stolen").await;
    let server = server().await;
    let api: Api<Lease> = Api::namespaced(server.admin(), "lease-stolen");
    let patch = serde_json::json!({ "spec": { "holderIdentity": "somebody" } });
    let patch = kube::api::Patch::Merge(patch);
    api.patch("lease", &kube::api::PatchParams::default(), &patch).await.unwrap();
    let wait = first.leads.wait_for(|leads| !*leads);
    tokio::time::timeout(PATIENCE, wait).await.expect("still acts").unwrap();
    assert!(!first.fence.is_open() && !second.fence.is_open());
}
