//! Is a store that comes back at another address under its name part of the quorum at once?

use serde_json::Value;

use crate::cluster::{Cluster, http, wait_for};
use crate::gate::Gate;
use crate::ports;

/// Longest time without an acknowledged write. A connection that is dead without a word is noticed
/// within 2 s, the store is tried again every 0.3 s, and the rest is for busy machines; ten seconds
/// and more were lost where that took the usual time of such connections.
const LONGEST_GAP_MS: u64 = 8_000;

#[test]
fn a_store_that_comes_back_elsewhere_under_its_name_counts_at_once() {
    let mut cluster = Cluster::only_pd();
    let (name, first) = (ports::address(), ports::address());
    let second = ports::address().replace(".1:", ".2:");
    let gate = Gate::open(&name, &first);
    cluster.add_store_at(&name, &first);
    cluster.add_store();
    cluster.add_store();
    cluster.settle();
    // As before an update: no leader is on the stores that are restarted.
    for index in [0, 1] {
        let body = format!(
            r#"{{"name":"evict-leader-scheduler","store_id":{}}}"#,
            cluster.store_ident(index)
        );
        cluster.pd_change("POST", "/pd/api/v1/schedulers", &body);
    }
    wait_for("all leaders on the third store", || cluster.leaders(2) == 5);
    let books = cluster.dir.path().join("books.jsonl");
    let words =
        format!("continuous --prefix back --seconds 30 --rate 40 --books {}", books.display());
    let mut command = cluster.check_command(&words);
    let writer = std::thread::spawn(move || command.output().unwrap());
    let written = || std::fs::metadata(&books).map_or(0, |file| file.len());
    wait_for("the writer", || written() > 0);

    gate.lead_to(None);
    cluster.kill_9(0);
    cluster.stores[0].listen.clone_from(&second);
    gate.lead_to(Some(&second));
    cluster.start_store(0);
    wait_for("it serves", || http(&cluster.stores[0].status, "GET", "/status", "").0 == 200);
    cluster.kill_9(1);
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert!(!writer.is_finished(), "it writes all the while");
    cluster.start_store(1);
    let done = writer.join().unwrap();
    let summary: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
    println!("{summary}");
    assert!(done.status.success(), "{summary}");
    assert!(summary["longest_gap_ms"].as_u64().unwrap() < LONGEST_GAP_MS, "{summary}");
}
