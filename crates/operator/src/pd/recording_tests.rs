//! Does the client understand what a real PD v8.5.7 answered?
//!
//! Each recording is served over HTTP as it was recorded, and read as the operator reads it.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use http::uri::Authority;
use tikv_operator_core::world::{Maintenance, Progress, Replication, StoreId, StoreState};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpListener};

use super::{PdClient, PdError, Transport, facts, transport::Limits, wire};
use crate::metrics::Metrics;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pd-recordings")
}

/// The recorded status line, headers and body, as bytes of an HTTP answer.
fn answer(name: &str) -> (String, Vec<u8>) {
    let text = std::fs::read_to_string(directory().join(format!("{name}.txt"))).unwrap();
    let (request, answer) = text.split_once('\n').unwrap();
    let (head, body) = answer.split_once("\n\n").unwrap();
    let body = body.trim_end_matches('\n');
    // Lengths are of the recording's own bytes; chunks were joined by the recorder.
    let head: Vec<&str> = head
        .lines()
        .filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("content-length") && !line.starts_with("transfer-encoding")
        })
        .collect();
    let head = head.join("\r\n");
    let bytes =
        format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    (request.to_owned(), bytes.into_bytes())
}

/// Serves one recording to one client, and reads it.
async fn read(name: &str) -> Result<bytes::Bytes, PdError> {
    let (_, bytes) = answer(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Authority = listener.local_addr().unwrap().to_string().parse().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(&bytes).await;
    });
    let transport = Transport::new(Limits::default(), None);
    let got = transport.get(&address, "/x", 1 << 20, Duration::from_secs(5)).await;
    serving.await.unwrap();
    got
}

async fn parsed<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let body = read(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{name}: {error}"))
}

async fn error(name: &str) -> PdError {
    read(name).await.expect_err(name)
}

#[tokio::test]
async fn members_and_their_leader() {
    let membership = facts::membership(parsed("members").await).unwrap();
    assert_eq!(membership.cluster_id.0, 7_711_106_130_007_928_711);
    assert_eq!(membership.leader.0, 13_401_763_863_886_577_982);
    assert_eq!(membership.members.len(), 3);
    let names: BTreeSet<_> = membership.members.values().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["pd-1", "pd-2", "pd-3"].into());

    let members = facts::with_health(membership.members, &parsed::<Vec<_>>("health").await);
    assert!(members.values().all(|m| m.healthy && m.version == "v8.5.7"));
}

#[tokio::test]
async fn a_dead_member_is_listed_and_not_healthy() {
    let membership = facts::membership(parsed("members-one-dead").await).unwrap();
    let health: Vec<wire::Health> = parsed("health-one-dead").await;
    let members = facts::with_health(membership.members, &health);
    assert_eq!(members.len(), 3);
    assert_eq!(members.values().filter(|m| m.healthy).count(), 2);
    let after = facts::membership(parsed("members-after-delete").await).unwrap();
    assert_eq!(after.members.len(), 2);
}

#[tokio::test]
async fn without_a_leader_there_is_no_answer() {
    for name in ["members-just-after-leader-killed", "members-quorum-lost", "stores-quorum-lost"] {
        assert!(matches!(error(name).await, PdError::Refused { .. }), "{name}");
    }
    // `/health` answers 200 even then: it is never asked before `/members` has named a leader.
    let health: Vec<wire::Health> = parsed("health-quorum-lost").await;
    assert_eq!(health.len(), 2);
}

#[tokio::test]
async fn not_bootstrapped_is_an_answer() {
    for name in
        ["schedulers-unbootstrapped", "stores-unbootstrapped", "store-unknown-unbootstrapped"]
    {
        if directory().join(format!("{name}.txt")).exists() {
            assert_eq!(error(name).await, PdError::NotBootstrapped, "{name}");
        }
    }
    let status: wire::ClusterStatus = parsed("cluster-status-unbootstrapped").await;
    assert!(!status.is_initialized);
}

#[tokio::test]
async fn a_store_that_was_never_heard_reads_down_without_a_heartbeat() {
    let stores = facts::stores(parsed("stores-never-heartbeated").await).unwrap();
    assert_eq!(stores.len(), 3);
    for store in stores.values() {
        assert_eq!(store.state, StoreState::Down);
        assert_eq!(store.last_heartbeat, None, "the epoch is no heartbeat");
        assert!(store.started.is_some());
        assert!(store.address.ends_with(".example-tikv-peer.default.svc:20160"));
        assert_eq!(store.version, "8.5.7");
    }
}

#[tokio::test]
async fn every_state_of_a_store_is_told_apart() {
    for (name, states) in [
        ("stores-four-up", "Up Up Up Up"),
        ("stores-one-disconnected", "Disconnected Up Up Up"),
        ("stores-one-down", "Down Up Up Up"),
        ("stores-offline", "Offline Up Up Up"),
        ("stores-tombstone", "Tombstone"),
        ("stores-check-down", "Down"),
    ] {
        let stores = facts::stores(parsed(name).await).unwrap();
        let found: Vec<String> = stores.values().map(|s| format!("{:?}", s.state)).collect();
        assert_eq!(found.join(" "), states, "{name}");
        assert!(stores.values().all(|store| store.last_heartbeat.is_some()), "{name}");
    }
}

#[tokio::test]
async fn sizes_addresses_and_node_states() {
    let stores = facts::stores(parsed("stores-offline").await).unwrap();
    let store = &stores[&StoreId(10)];
    assert_eq!(store.status_address, "example-tikv-3.example-tikv-peer.default.svc:20180");
    assert!(store.serving);
    let gib = |n: u64| Some(n << 30);
    assert_eq!((store.capacity, store.available, store.used), (gib(100), gib(90), gib(1)));
    assert!(!stores[&StoreId(1)].serving, "one that is being removed");
    // PD says `0B` of what it has not heard.
    let silent = facts::stores(parsed("stores-never-heartbeated").await).unwrap();
    let sizes: Vec<_> = silent.values().map(|s| (s.capacity, s.available, s.used)).collect();
    assert!(sizes.contains(&(None, None, None)), "{sizes:?}");
    let members = facts::membership(parsed("members").await).unwrap();
    let leader = facts::leader_address(&members).unwrap();
    assert!(leader.as_str().starts_with("127.0.0.1:"), "{leader}");
}

/// A client that gets one recording whatever it asks.
async fn answered(name: &str) -> (PdClient, Authority) {
    let (_, bytes) = answer(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&bytes).await;
        }
    });
    (PdClient::new(Transport::new(Limits::default(), None), Metrics::new()), address)
}

#[tokio::test]
async fn the_maintenance_lock_is_held_free_or_not_there() {
    let held = Maintenance::Held { kind: "restart".to_owned(), id: "example".to_owned() };
    for (name, want) in [
        ("maintenance-get", held),
        ("maintenance-none", Maintenance::Free),
        ("readyz-v2", Maintenance::Unsupported),
    ] {
        let (client, member) = answered(name).await;
        assert_eq!(client.maintenance(&member).await, want, "{name}");
    }
    let (client, member) = answered("stores-quorum-lost").await;
    let lost = client.maintenance(&member).await;
    assert!(matches!(&lost, Maintenance::Unknown { reason } if reason.contains("503")), "{lost:?}");
}

#[tokio::test]
async fn progress_and_unsafe_recovery() {
    let stores = facts::stores(parsed("stores-offline").await).unwrap();
    let (client, member) = answered("stores-progress").await;
    let progress = client.progress(&member, &stores).await;
    let nothing_yet = Progress { done: 0.0, speed: 0.0, left_seconds: None };
    assert_eq!(progress, [(StoreId(1), nothing_yet)].into());
    let (client, member) = answered("stores-progress-none").await;
    assert!(client.progress(&member, &stores).await.is_empty());

    let (client, member) = answered("unsafe-show").await;
    assert_eq!(client.unsafe_recovery(&member, &stores).await, Some(false));
    let up = facts::stores(parsed("stores-four-up").await).unwrap();
    assert_eq!(client.unsafe_recovery(&member, &up).await, None, "not asked");
    let (client, member) = answered("stores-quorum-lost").await;
    assert_eq!(client.unsafe_recovery(&member, &stores).await, None, "not known");
    let (client, member) = answered("readyz-v2").await;
    assert_eq!(client.unsafe_recovery(&member, &stores).await, Some(false), "no such endpoint");
}

#[tokio::test]
async fn no_region_is_listed_where_all_is_well() {
    let stores = facts::stores(parsed("stores-four-up").await).unwrap();
    let (client, member) = answered("regions-check-down").await;
    assert_eq!(client.critical(&member, &stores).await, Some([].into()));
    let (client, member) = answered("stores-quorum-lost").await;
    assert_eq!(client.critical(&member, &stores).await, None);
}

#[tokio::test]
async fn the_evict_leader_scheduler_and_its_absence() {
    let evicting = facts::evicting(parsed("evict-list").await).unwrap();
    assert_eq!(evicting.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(error("evict-list-none").await, PdError::NotFound(_)));
}

#[tokio::test]
async fn settings_and_regions() {
    let replicate: wire::Replicate = parsed("config-replicate").await;
    assert_eq!(replicate.max_replicas, 3);
    assert!(facts::location_labels(&replicate.location_labels).is_empty());
    assert_eq!(facts::location_labels("zone, host"), ["zone", "host"]);
    assert_eq!(parsed::<wire::Count>("regions-count").await.count, 1);
    assert_eq!(parsed::<wire::Count>("regions-check-miss").await.count, 0);
    assert!(parsed::<wire::ClusterStatus>("cluster-status").await.is_initialized);
    let word = |text: &str| facts::replication(&serde_json::from_str(text).unwrap());
    assert_eq!(word(r#""REPLICATED""#), Replication::Replicated);
    assert_eq!(word(r#""PENDING""#), Replication::Pending);
    assert_eq!(word(r#""SOMETHING""#), Replication::Unknown);
    assert_eq!(word("true"), Replication::Replicated);
}

/// Whatever was recorded, reading it ends, and a refusal carries PD's own words.
#[tokio::test]
async fn every_recording_is_read_to_its_end() {
    let mut count = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (_, bytes) = answer(&name);
        let ok = String::from_utf8_lossy(&bytes).starts_with("HTTP/1.1 2");
        match read(&name).await {
            Ok(_) => assert!(ok, "{name}"),
            Err(PdError::NotFound(_) | PdError::NotBootstrapped) => assert!(!ok, "{name}"),
            Err(PdError::Refused { text, .. }) => {
                // Only the ready endpoint refuses without a word (500, empty body).
                assert!(!ok && (!text.is_empty() || name.starts_with("ready")), "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
        count += 1;
    }
    assert!(count >= 70, "{count} recordings");
}
