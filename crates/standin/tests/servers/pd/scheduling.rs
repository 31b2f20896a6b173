//! Does PD bring regions to their replicas, move leaders and peers, and empty stores that go?

use std::sync::atomic::Ordering;
use std::time::Duration;

use standin::proto::metapb::Peer;

use crate::pd::harness::{eventually, store};
use crate::pd::obedient::{Obedient, World};

#[tokio::test(flavor = "multi_thread")]
async fn stores_go_on_where_pd_had_no_leader_for_a_moment() {
    let mut cluster = Obedient::start(3, 2, &[]).await;
    cluster.members.all[0].kill();
    cluster.members.all[0].start();
    cluster.members.wait_for_leader().await;
    cluster.await_voters(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_grow_to_their_replicas_and_leaders_spread() {
    let cluster = Obedient::start(3, 6, &[]).await;
    eventually("several regions", || async {
        (cluster.get("cluster/status").await["is_initialized"] == true).then_some(())
    })
    .await;
    cluster.await_voters(3).await;
    eventually("two leaders a store", || async {
        let counts = [cluster.leaders(1).await, cluster.leaders(2).await, cluster.leaders(3).await];
        (counts.iter().sum::<u64>() == 6 && counts.iter().all(|count| *count >= 1)).then_some(())
    })
    .await;
    eventually("no region misses a peer", || async {
        (cluster.get("regions/check/miss-peer").await["count"] == 0).then_some(())
    })
    .await;
    cluster.post("config", r#"{"replication.max-replicas":1}"#).await;
    cluster.await_voters(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evicted_stores_have_no_leaders_until_the_eviction_ends() {
    let cluster = Obedient::start(3, 6, &[]).await;
    cluster.await_voters(3).await;
    cluster.post("schedulers", r#"{"name":"evict-leader-scheduler","store_id":1}"#).await;
    eventually("no leader on store 1", || async { (cluster.leaders(1).await == 0).then_some(()) })
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.leaders(1).await, 0, "none comes back while it is evicted");
    let gone = cluster.pd().delete("/pd/api/v1/schedulers/evict-leader-scheduler-1").await;
    assert_eq!(gone.status, 200);
    eventually("leaders come back", || async { (cluster.leaders(1).await > 0).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_store_is_a_tombstone_once_no_region_has_a_peer_there() {
    let mut cluster = Obedient::start(4, 3, &[]).await;
    cluster.await_voters(3).await;
    let holds = |id: u64, world: &World| {
        let world = world.lock().unwrap();
        world.iter().filter(|(r, _)| r.peers.iter().any(|p| p.store_id == id)).count()
    };
    let victim = (1..=4).find(|id| holds(*id, &cluster.world) > 0).unwrap();
    let path = format!("/pd/api/v1/store/{victim}");
    assert_eq!(cluster.pd().delete(&path).await.status, 200);
    eventually("it is a tombstone", || async {
        let shown = cluster.get(&format!("store/{victim}")).await;
        let name = shown["store"]["state_name"].as_str().unwrap().to_owned();
        assert!(name == "Offline" || name == "Tombstone", "{name}");
        (name == "Tombstone").then_some(())
    })
    .await;
    assert_eq!(holds(victim, &cluster.world), 0, "a tombstone holds nothing");
    cluster.await_voters(3).await;
    let error = cluster.stores.put(store(victim)).await.unwrap();
    assert_eq!(error.message, "store is tombstone");
    let error = cluster.stores.beat(victim).await.unwrap();
    assert_eq!(error.message, "store is tombstone");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_an_offline_store_while_there_is_nowhere_to_go() {
    let mut cluster = Obedient::start(3, 2, &[]).await;
    cluster.await_voters(3).await;
    assert_eq!(cluster.pd().delete("/pd/api/v1/store/2?force").await.status, 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let shown = cluster.get("store/2").await;
    assert_eq!(
        (&shown["store"]["state_name"], &shown["status"]["region_count"]),
        (&"Offline".into(), &2.into())
    );
    assert_eq!(cluster.get("regions/check/offline-peer").await["count"], 2);
    let stuck = serde_json::json!({
        "action": "removing", "store_id": 2, "progress": 0, "current_speed": 0, "left_seconds": f64::MAX
    });
    assert_eq!(cluster.get("stores/progress?id=2").await, stuck);
    // A new PD leader finds nothing wrong with regions that it has not heard of.
    cluster.stop.store(true, Ordering::SeqCst);
    cluster.members.all[0].kill();
    cluster.members.all[0].start();
    cluster.members.wait_for_leader().await;
    assert_eq!(cluster.get("regions/check/offline-peer").await["count"], 0);
    assert_eq!(cluster.get("regions/count").await["count"], 2);
}

/// Whether a store keeps leaders for as long as two rounds of scheduling or more take.
async fn keeps_leaders(cluster: &Obedient, id: u64) -> bool {
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.leaders(id).await > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stopping_store_is_drained_and_two_at_once_are_not() {
    let (cluster, older) =
        tokio::join!(Obedient::start(3, 6, &[]), Obedient::start(3, 6, &["--as-version=v8.5.4"]),);
    let spread = |cluster| async move {
        let cluster: &Obedient = cluster;
        cluster.await_voters(3).await;
        eventually("every store leads", || async {
            let led =
                [cluster.leaders(1).await, cluster.leaders(2).await, cluster.leaders(3).await];
            led.iter().all(|count| *count > 0).then_some(())
        })
        .await;
    };
    tokio::join!(spread(&cluster), spread(&older));
    let stopping = |ids: &[u64]| *cluster.stopping.lock().unwrap() = ids.to_vec();
    stopping(&[1]);
    older.stopping.lock().unwrap().push(1);
    eventually("no leader on store 1", || async { (cluster.leaders(1).await == 0).then_some(()) })
        .await;
    let list = cluster.pd().get("/pd/api/v1/scheduler-config/evict-leader-scheduler/list").await;
    assert_eq!(list.status, 404, "evict-leader is somebody else's");
    // Store 1 is taken, so the next one is not, and of two that are left neither is.
    stopping(&[1, 2, 3]);
    assert!(keeps_leaders(&cluster, 2).await);
    stopping(&[2, 3]);
    assert!(keeps_leaders(&cluster, 2).await && cluster.leaders(3).await > 0);
    stopping(&[2]);
    eventually("no leader on store 2", || async { (cluster.leaders(2).await == 0).then_some(()) })
        .await;
    stopping(&[]);
    eventually("leaders come back", || async { (cluster.leaders(2).await > 0).then_some(()) })
        .await;
    assert!(older.leaders(1).await > 0, "v8.5.4 does not look at what a heartbeat says of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_down_stores_peers_are_replaced_only_after_the_limit() {
    let cluster = Obedient::start(4, 2, &[]).await;
    cluster.await_voters(3).await;
    let victim = {
        let world = cluster.world.lock().unwrap();
        let (region, leader) = &world[0];
        region.peers.iter().find(|peer| peer.id != *leader).unwrap().store_id
    };
    cluster.silence(victim);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let holds = |world: &World| {
        world.lock().unwrap().iter().any(|(r, _)| r.peers.iter().any(|p| p.store_id == victim))
    };
    assert!(holds(&cluster.world), "down in the leader's eyes is not enough");
    cluster.post("config", r#"{"halt-scheduling":"true"}"#).await;
    // What ran when the halt came may end.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cluster.commands.lock().unwrap().len();
    cluster.post("config", r#"{"max-store-down-time":"2s"}"#).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(cluster.commands.lock().unwrap().len(), before, "nothing begins while halted");
    assert!(holds(&cluster.world), "halted");
    cluster.post("config", r#"{"halt-scheduling":"false"}"#).await;
    eventually("its peers are elsewhere", || async { (!holds(&cluster.world)).then_some(()) })
        .await;
    cluster.await_voters(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_on_its_way_to_a_store_that_dies_goes_elsewhere() {
    let mut cluster = Obedient::start(1, 1, &["--as-version=v8.5.7"]).await;
    cluster.post("config", r#"{"max-replicas":2,"max-store-down-time":"3s"}"#).await;
    assert_eq!(cluster.stores.put(store(2)).await, None);
    // It takes the new peer, which never catches up, and dies.
    cluster.lagging.lock().unwrap().push(2);
    assert_eq!(cluster.stores.beat(2).await, None);
    let is_on = |id: u64| {
        let world = cluster.world.lock().unwrap();
        world.iter().any(|(region, _)| region.peers.iter().any(|peer| peer.store_id == id))
    };
    eventually("a learner on store 2", || async { is_on(2).then_some(()) }).await;
    cluster.silence(2);
    let mut third = cluster.stores.clone();
    assert_eq!(third.put(store(3)).await, None);
    cluster.run_store(3);
    eventually("the peer is on store 3 instead", || async {
        (is_on(3) && !is_on(2)).then_some(())
    })
    .await;
    cluster.await_voters(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_go_to_different_zones_and_new_stores_get_their_share() {
    let mut cluster = Obedient::start(4, 6, &[]).await;
    cluster.post("config", r#"{"location-labels":"zone"}"#).await;
    // The regions are there before the labels: their peers move apart afterwards.
    cluster.await_voters(3).await;
    for (id, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
        cluster.post(&format!("store/{id}/label"), &format!(r#"{{"zone":"{zone}"}}"#)).await;
    }
    let spread = |world: &World| {
        let zone = |peer: &Peer| match peer.store_id {
            1 | 2 => "a",
            3 | 5 => "b",
            _ => "c",
        };
        let world = world.lock().unwrap();
        world.iter().all(|(region, _)| {
            let zones: std::collections::BTreeSet<_> = region.peers.iter().map(zone).collect();
            zones.len() == 3
        })
    };
    let spreads = || async { spread(&cluster.world).then_some(()) };
    eventually("one peer a zone", spreads).await;
    assert_eq!(cluster.stores.put(store(5)).await, None);
    cluster.post("store/5/label", r#"{"zone":"b"}"#).await;
    cluster.run_store(5);
    eventually("store 5 has regions", || async {
        let count = cluster.get("store/5").await["status"]["region_count"].as_u64().unwrap();
        (count >= 2).then_some(())
    })
    .await;
    cluster.await_voters(3).await;
    eventually("still one peer a zone", || async { spread(&cluster.world).then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(spread(&cluster.world), "and it stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_isolation_level_the_last_store_of_a_zone_is_not_emptied() {
    let cluster = Obedient::start(4, 3, &[]).await;
    cluster.post("config", r#"{"location-labels":"zone"}"#).await;
    for (id, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
        cluster.post(&format!("store/{id}/label"), &format!(r#"{{"zone":"{zone}"}}"#)).await;
    }
    let peers = |id: u64| {
        let world = cluster.world.lock().unwrap();
        world.iter().filter(|(r, _)| r.peers.iter().any(|peer| peer.store_id == id)).count()
    };
    // Whatever is still to move makes a fourth peer for a moment, of which PD may take another one than
    // the one that it is made for: every region is in each zone, and zone a is shared evenly.
    let three = || cluster.world.lock().unwrap().iter().all(|(region, _)| region.peers.len() == 3);
    let rests = || peers(3) == 3 && peers(4) == 3 && peers(1) > 0 && peers(2) > 0;
    eventually("a peer of each region in each zone, and nothing to move", || async {
        (rests() && three()).then_some(())
    })
    .await;
    cluster.post("config", r#"{"isolation-level":"zone"}"#).await;
    assert_eq!(cluster.pd().delete("/pd/api/v1/store/4").await.status, 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(peers(4), 3, "no other store is in a zone of its own");
    cluster.post("config", r#"{"isolation-level":""}"#).await;
    eventually("store 4 is empty", || async { (peers(4) == 0).then_some(()) }).await;
}
