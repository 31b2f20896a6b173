//! Is a store who its disk says it is?

use crate::tikv::cluster::{Cluster, PATIENCE, http, wait_for};

#[test]
fn a_wiped_volume_is_a_new_store_and_its_old_address_is_taken() {
    let mut cluster = Cluster::start(3);
    let first = cluster.store_ident(0);
    cluster.kill_9(0);
    cluster.wipe(0);
    let (status, said) = cluster.run_store(0);
    assert!(!status.success());
    assert!(said.contains("duplicated store address"), "{said}");
    assert!(said.contains("FATAL"), "{said}");
    assert_ne!(cluster.store_ident(0), first, "an empty directory gets a new id");
}

#[test]
fn a_restarted_store_keeps_its_id_and_its_keys() {
    let mut cluster = Cluster::start(1);
    let first = cluster.store_ident(0);
    cluster.write("kept", 1_000);
    let regions = cluster.pd_json("/pd/api/v1/regions");
    for region in regions["regions"].as_array().unwrap() {
        let path = format!("/region/{}", region["id"]);
        let (_, shown) = http(&cluster.stores[0].status, "GET", &path, "");
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let begin = shown["state"]["truncated_index"].as_u64().unwrap();
        let applied = shown["state"]["applied_index"].as_u64().unwrap();
        assert!(begin > 100 && applied - begin <= 80, "its log was truncated: {shown}");
    }
    cluster.kill_9(0);
    cluster.start_store(0);
    let (complete, summary) = cluster.verify("kept", 1_000, PATIENCE);
    assert!(complete, "{summary}");
    assert_eq!(cluster.store_ident(0), first);
}

#[test]
fn a_store_whose_data_is_gone_does_not_begin_anew_under_its_old_id() {
    let mut cluster = Cluster::start(1);
    cluster.kill_9(0);
    std::fs::remove_file(cluster.stores[0].dir.join("store.redb")).unwrap();
    let (status, said) = cluster.run_store(0);
    assert!(!status.success());
    assert!(said.contains("cannot open") && said.contains("store.redb"), "{said}");
}

#[test]
fn a_volume_of_another_cluster_is_refused() {
    let mut one = Cluster::start(1);
    let other = Cluster::only_pd();
    one.kill_9(0);
    one.pd.clone_from(&other.pd);
    let (status, said) = one.run_store(0);
    assert!(!status.success());
    assert!(said.contains("cluster ID mismatch, local"), "{said}");
}

#[test]
fn a_removed_store_refuses_to_start_and_a_running_one_serves_nobody() {
    let mut cluster = Cluster::start(4);
    cluster.wait_replicated(3);
    cluster.write("moved", 100);
    let id = cluster.store_ident(0);
    cluster.pd_change("DELETE", &format!("/pd/api/v1/store/{id}"), "");
    wait_for("the tombstone", || cluster.store_state(id) == "Tombstone");
    assert_eq!(cluster.metric(0, "tikv_raftstore_region_count{type=\"region\"}"), 0);
    let (complete, summary) = cluster.verify("moved", 100, PATIENCE);
    assert!(complete, "{summary}");
    cluster.kill_9(0);
    let (status, said) = cluster.run_store(0);
    assert!(!status.success());
    assert!(said.contains("store is tombstone"), "{said}");
}

#[test]
fn stores_that_start_at_once_make_one_cluster() {
    let mut cluster = Cluster::only_pd();
    for _ in 0..3 {
        cluster.add_store();
    }
    cluster.wait_replicated(3);
    let status = cluster.pd_json("/pd/api/v1/cluster/status");
    assert_eq!(status["is_initialized"], true, "{status}");
    let regions = cluster.pd_json("/pd/api/v1/regions");
    let mut ends: Vec<String> = Vec::new();
    for region in regions["regions"].as_array().unwrap() {
        let text = |key: &str| region[key].as_str().unwrap_or_default().to_owned();
        ends.push(format!("{}-{}", text("start_key"), text("end_key")));
    }
    ends.sort();
    assert_eq!(ends, ["-66", "66-6B", "6B-70", "70-75", "75-"]);
}
