//! Do regions follow what PD says, also when a store was away meanwhile?

use crate::tikv::cluster::{Cluster, PATIENCE, QUICK, http, wait_for};

#[test]
fn a_store_that_was_away_while_its_regions_moved_gives_them_up_and_is_retired() {
    let mut cluster = Cluster::start(3);
    cluster.write("away", 130);
    let id = cluster.store_ident(0);
    cluster.kill_9(0);
    cluster.add_store();
    let registered = || cluster.store_state(cluster.store_ident(3)) == "Up";
    wait_for("the new store", || {
        cluster.stores[3].dir.join("store-ident.json").exists() && registered()
    });
    cluster.pd_change("DELETE", &format!("/pd/api/v1/store/{id}"), "");
    cluster.wait_replicated(3);
    cluster.start_store(0);
    // Removed by PD while it was down, or refused at once: either way it holds nothing any more.
    wait_for("the tombstone", || cluster.store_state(id) == "Tombstone");
    let (complete, summary) = cluster.verify("away", 130, PATIENCE);
    assert!(complete, "{summary}");
}

#[test]
fn a_store_that_was_paused_while_it_was_removed_gives_its_regions_up() {
    let cluster = Cluster::start(4);
    let id = cluster.store_ident(0);
    wait_for("a region on it", || {
        cluster.metric(0, "tikv_raftstore_region_count{type=\"region\"}") > 0
    });
    cluster.stores[0].process.as_ref().unwrap().signal("-STOP");
    cluster.pd_change("DELETE", &format!("/pd/api/v1/store/{id}"), "");
    wait_for("the tombstone", || cluster.store_state(id) == "Tombstone");
    cluster.stores[0].process.as_ref().unwrap().signal("-CONT");
    wait_for("no region on it", || {
        cluster.metric(0, "tikv_raftstore_region_count{type=\"region\"}") == 0
    });
    // As the real one, it runs on and serves nobody.
    assert_eq!(http(&cluster.stores[0].status, "GET", "/status", "").0, 200);
}

#[test]
fn a_down_stores_regions_are_made_again_on_a_spare_one() {
    let mut cluster = Cluster::only_pd();
    cluster.config = QUICK.replace("[raftstore]", "[raftstore]\nmax-peer-down-duration = \"1s\"");
    for _ in 0..4 {
        cluster.add_store();
    }
    cluster.wait_replicated(3);
    cluster.write("down", 130);
    wait_for("regions on the first store", || {
        cluster.metric(0, "tikv_raftstore_region_count{type=\"region\"}") > 0
    });
    let id = cluster.store_ident(0);
    cluster.kill_9(0);
    let limit = r#"{"schedule.max-store-down-time":"4s"}"#;
    cluster.pd_change("POST", "/pd/api/v1/config", limit);
    wait_for("no region on it", || {
        let store = cluster.pd_json(&format!("/pd/api/v1/store/{id}"));
        store["status"]["region_count"] == 0
    });
    cluster.wait_replicated(3);
    assert_eq!(cluster.store_state(id), "Down", "nobody removed it");
    let (complete, summary) = cluster.verify("down", 130, PATIENCE);
    assert!(complete, "{summary}");
}

#[test]
fn a_snapshot_brings_a_new_store_all_that_was_written_before() {
    let mut cluster = Cluster::start(1);
    cluster.write("snapshot", 260);
    cluster.add_store();
    cluster.add_store();
    cluster.wait_replicated(3);
    let gone = cluster.store_ident(0);
    cluster.kill_9(0);
    wait_for("leaders elsewhere", || cluster.leaders(1) + cluster.leaders(2) == 5);
    let (complete, summary) = cluster.verify("snapshot", 260, PATIENCE);
    assert!(complete, "without store {gone}: {summary}");
}

#[test]
fn stores_follow_pds_leader() {
    let mut cluster = Cluster::with_pds(3);
    for _ in 0..3 {
        cluster.add_store();
    }
    cluster.wait_replicated(3);
    let lead = |cluster: &Cluster| -> Option<String> {
        let (status, body) = cluster.pd_get("/pd/api/v1/leader");
        let leader: serde_json::Value =
            serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        leader["name"].as_str().map(str::to_owned)
    };
    // First the old leader lives on as a follower, then the new one dies.
    let first = lead(&cluster).unwrap();
    let other = (0..3).map(|n| format!("pd-{n}")).find(|name| *name != first).unwrap();
    let transfer = format!("/pd/api/v1/leader/transfer/{other}");
    cluster.pd_change("POST", &transfer, "");
    wait_for("the transfer", || lead(&cluster) == Some(other.clone()));
    move_a_store(&mut cluster, 0);
    let at: usize = other.trim_start_matches("pd-").parse().unwrap();
    cluster.pds[at].1.kill_9();
    cluster.pd = cluster.pds[(at + 1) % 3].0.clone();
    wait_for("another PD leader", || lead(&cluster).is_some_and(|name| name != other));
    move_a_store(&mut cluster, 1);
}

/// Replaces a store by a new one, which PD can do only while the stores report to its leader.
fn move_a_store(cluster: &mut Cluster, index: usize) {
    cluster.wait_replicated(3);
    let id = cluster.store_ident(index);
    let added = cluster.add_store();
    wait_for("the new store", || {
        cluster.stores[added].dir.join("store-ident.json").exists()
            && cluster.store_state(cluster.store_ident(added)) == "Up"
    });
    cluster.pd_change("DELETE", &format!("/pd/api/v1/store/{id}"), "");
    wait_for("the tombstone", || cluster.store_state(id) == "Tombstone");
}
