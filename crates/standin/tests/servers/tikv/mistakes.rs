//! Can an operator lose data in the stand-ins? It must be able to, or a test that loses none proves
//! nothing. Each mistake here is one that real operators made; the right order beside them loses
//! nothing.

use std::fs;
use std::path::Path;

use crate::tikv::cluster::{Cluster, PATIENCE, wait_for};

const KEYS: u64 = 104;

fn delete_store(cluster: &Cluster, id: u64, force: &str) {
    cluster.pd_change("DELETE", &format!("/pd/api/v1/store/{id}{force}"), "");
}

#[test]
fn taking_a_second_store_before_the_first_is_replaced_loses_keys() {
    let mut cluster = Cluster::start(3);
    cluster.write("second", KEYS);
    for index in [0, 1] {
        // The naive order: pod and volume first, then the record in PD, then on to the next one.
        let id = cluster.store_ident(index);
        cluster.kill_9(index);
        cluster.wipe(index);
        delete_store(&cluster, id, "?force");
        cluster.start_store(index);
    }
    let (complete, summary) = cluster.verify("second", KEYS, 15);
    assert!(!complete, "{summary}");
    let gone = |kind: &str| summary[kind].as_u64().unwrap();
    assert!(gone("missing") + gone("unreadable") > 0, "{summary}");
}

#[test]
fn replacing_one_store_after_the_other_loses_none() {
    let mut cluster = Cluster::start(3);
    cluster.write("order", KEYS);
    for index in [0, 1] {
        let id = cluster.store_ident(index);
        let added = cluster.add_store();
        let up = || {
            cluster.stores[added].dir.join("store-ident.json").exists()
                && cluster.store_state(cluster.store_ident(added)) == "Up"
        };
        wait_for("the new store", up);
        delete_store(&cluster, id, "");
        wait_for("the tombstone", || cluster.store_state(id) == "Tombstone");
        cluster.kill_9(index);
        cluster.wipe(index);
    }
    cluster.wait_replicated(3);
    let (complete, summary) = cluster.verify("order", KEYS, PATIENCE);
    assert!(complete, "{summary}");
}

#[test]
fn old_copies_of_two_volumes_put_back_lose_what_came_after() {
    let mut cluster = Cluster::start(3);
    // A copy of a volume is good for what PD knows now, as long as nothing moves.
    cluster.settle();
    cluster.write("early", KEYS);
    let stop = |cluster: &mut Cluster| (0..3).for_each(|index| cluster.kill_9(index));
    stop(&mut cluster);
    let copies = tempfile::tempdir().unwrap();
    for index in [0, 1] {
        copy(&cluster.stores[index].dir, &copies.path().join(index.to_string()));
    }
    (0..3).for_each(|index| cluster.start_store(index));
    cluster.write("late", KEYS);
    stop(&mut cluster);
    for index in [0, 1] {
        cluster.wipe(index);
        copy(&copies.path().join(index.to_string()), &cluster.stores[index].dir);
        cluster.start_store(index);
    }
    let (early, summary) = cluster.verify("early", KEYS, PATIENCE);
    assert!(early, "the copies hold what was written before them: {summary}");
    let (late, summary) = cluster.verify("late", KEYS, 30);
    assert!(!late);
    assert_eq!(summary["missing"], KEYS, "acknowledged, and silently gone: {summary}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
