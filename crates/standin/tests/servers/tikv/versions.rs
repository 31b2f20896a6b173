//! Does a stand-in store that is started as an older release lack what that release lacked?

use std::process::Command;

use crate::tikv::cluster::{Cluster, http, wait_for};

#[test]
fn v4_0_0_exits_on_a_flag_that_it_does_not_know() {
    let flag = "--advertise-status-addr=example-tikv-0:20180";
    for (version, known) in [("v4.0.0", false), ("v4.0.1", true)] {
        let ran = Command::new(env!("CARGO_BIN_EXE_tikv-server"))
            .args([flag, "--as-version", version, "--pd-endpoints=127.0.0.1:1"])
            // What stops it next, where it gets that far.
            .env("TMPDIR", "/proc/no-such-directory")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{version}: {said}");
        assert_eq!(said.contains("--advertise-status-addr"), !known, "{version}: {said}");
        assert_eq!(said.contains("_TIKV_LOCK_FILES"), known, "{version}: {said}");
    }
}

#[test]
fn the_status_port_has_what_its_release_had() {
    let mut cluster = Cluster::only_pd();
    // The sections of the file end with the server's.
    cluster.config += "advertise-status-addr = \"example-tikv-0:20180\"\n";
    cluster.config += "[storage]\nenable-ttl = false\n";
    let path = "/config?persist=false";
    let change = r#"{"raftstore.raft-max-inflight-msgs":77}"#;
    let old = "failed to update, error: Os { code: 30";
    let unwritten = "config changed, but failed to persist change due to err: Os { code: 30";
    for (version, code, words, missing) in [
        ("v4.0.0", 500, old, &["/engine_type", "/config/reload"][..]),
        ("v5.4.0", 500, unwritten, &["/engine_type"]),
        ("v7.5.0", 200, "", &[]),
    ] {
        cluster.version = Some(version.to_owned());
        let index = cluster.add_store();
        let status = cluster.stores[index].status.clone();
        wait_for("the status port", || http(&status, "GET", "/status", "").0 == 200);
        let (answered, said) = http(&status, "POST", path, change);
        assert_eq!(answered, code, "{version}: {said}");
        assert!(said.starts_with(words), "{version}: {said}");
        let (_, config) = http(&status, "GET", "/config", "");
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["raftstore"]["raft-max-inflight-msgs"], 77, "{version}: in force");
        let has_ttl = config["storage"].get("enable-ttl").is_some();
        assert_eq!(has_ttl, version != "v4.0.0", "{version}");
        for path in missing {
            let method = if path.ends_with("reload") { "PUT" } else { "GET" };
            let answer = http(&status, method, path, "");
            assert_eq!(answer, (404, "path not found".to_owned()), "{version} {path}");
        }
        let stores = cluster.pd_json("/pd/api/v1/stores");
        let shown = stores["stores"]
            .as_array()
            .unwrap()
            .iter()
            .find(|shown| shown["store"]["version"] == version.trim_start_matches('v'));
        // v4.0.0 tells PD where it listens.
        let told = if version == "v4.0.0" { status.as_str() } else { "example-tikv-0:20180" };
        assert_eq!(shown.unwrap()["store"]["status_address"], told, "{version}");
    }
}
