//! Does a store refuse to start where the real one does, and say why?

use std::process::Command;

use crate::tikv::cluster::{Cluster, wait_for};

fn run(config: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tikv.toml");
    std::fs::write(&path, config).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_tikv-server"))
        .arg("--config")
        .arg(&path)
        .args(flags)
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
}

#[test]
fn a_bad_file_ends_the_start_with_its_reason() {
    for (config, reason) in [
        ("[server\n", "unclosed table"),
        ("[server]\ngrpc-concurrency = \"three\"\n", "`server.grpc-concurrency`"),
        ("[raft-engine]\npurge-threshold = \"1MB\"\n", "purge-threshold"),
    ] {
        let (code, _, said) = run(config, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

#[test]
fn the_version_says_that_this_is_a_stand_in() {
    let (code, said, _) = run("", &["-V", "--as-version=v9.1.0"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("Release Version:   9.1.0") && said.contains("not TiKV"), "{said}");
}

#[test]
fn without_a_writable_temporary_directory_there_is_no_start() {
    let ran = Command::new(env!("CARGO_BIN_EXE_tikv-server"))
        .args(["--pd-endpoints", "127.0.0.1:1"])
        .env("TMPDIR", "/proc/no-such-directory")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1));
    assert!(said.contains("FATAL") && said.contains("_TIKV_LOCK_FILES"), "{said}");
}

#[test]
fn an_older_store_reports_its_version_and_lacks_what_it_lacked() {
    let mut cluster = Cluster::only_pd();
    cluster.version = Some("v9.0.0-beta.2".to_owned());
    cluster.add_store();
    let ready = |cluster: &Cluster| {
        crate::tikv::cluster::http(&cluster.stores[0].status, "GET", "/ready", "").0
    };
    wait_for("/ready", || ready(&cluster) == 200);
    let stores = cluster.pd_json("/pd/api/v1/stores");
    assert_eq!(stores["stores"][0]["store"]["version"], "9.0.0-beta.2");
    cluster.kill_9(0);
    cluster.version = None;
    let (_, said) = cluster.run_store(0);
    assert!(said.contains("version should compatible"), "{said}");
}

#[test]
fn labels_and_capacity_are_what_flags_file_and_filesystem_say() {
    let mut cluster = Cluster::only_pd();
    cluster.flags = vec!["--labels=zone=a,host=h".to_owned()];
    cluster.config += "[server.labels]\nzone = \"of the file\"\n";
    cluster.add_store();
    cluster.config = cluster.config.replace("[raftstore]", "[raftstore]\ncapacity = \"100MB\"");
    cluster.flags.clear();
    cluster.add_store();
    let stores = || {
        let (_, body) = cluster.pd_get("/pd/api/v1/stores");
        let shown: serde_json::Value = serde_json::from_str(&body).unwrap();
        shown["stores"].as_array().cloned().unwrap_or_default()
    };
    wait_for("both in PD", || {
        stores().iter().filter(|store| store["status"]["capacity"] != "0B").count() == 2
    });
    let of = |index: usize| {
        let id = cluster.store_ident(index);
        stores().into_iter().find(|store| store["store"]["id"] == id).unwrap()
    };
    let label = |key: &str, value: &str| serde_json::json!({"key": key, "value": value});
    let labels = |index: usize| of(index)["store"]["labels"].clone();
    assert_eq!(labels(0), serde_json::json!([label("zone", "a"), label("host", "h")]));
    assert_eq!(labels(1), serde_json::json!([label("zone", "of the file")]));
    assert_eq!(of(1)["status"]["capacity"], "100MiB");
    let size = Command::new("df").args(["-B1", "--output=size"]).arg(cluster.dir.path()).output();
    let size = String::from_utf8(size.unwrap().stdout).unwrap();
    let size: u64 = size.lines().last().unwrap().trim().parse().unwrap();
    assert_eq!(cluster.metric(0, "tikv_store_size_bytes{type=\"capacity\"}"), size);
}
