//! Are regions written to all the time while their leaders leave for a store that has just come
//! back at another address, and for one that does not answer? And does the client follow them?

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, http, wait_for};
use crate::gate::Gate;
use crate::ports;

/// Longest time that no write to a region succeeds. A store that goes without leaders, or takes some
/// over, costs a fraction of a second, and the rest is for busy machines; a leader that hands over
/// to a store that does not answer takes no writes for the ten seconds of an election timeout.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Longest time until all leaders have left. They left after half a minute, or not at all, where a
/// connection to the address of before was waited for.
const LONGEST_LEAVE: Duration = Duration::from_secs(20);
/// As long as the store does not answer. PD calls it well for twenty seconds.
const SILENCE: Duration = Duration::from_secs(8);

#[test]
fn leaders_leave_for_a_restarted_store_and_not_for_a_silent_one_while_a_client_writes() {
    let mut cluster = Cluster::only_pd();
    // Election timeouts are as long as a real store's.
    cluster.config = cluster.config.replace("\"200ms\"", "\"1s\"");
    let (name, first) = (ports::address(), ports::address());
    let gate = Gate::open(&name, &first);
    cluster.add_store_at(&name, &first);
    cluster.add_store();
    cluster.add_store();
    cluster.settle();
    evict(&cluster, 0);
    evict(&cluster, 1);
    wait_for("all leaders on the third store", || cluster.leaders(2) == 5);
    // While little is said between the stores, so that their connections end between two messages.
    restart_elsewhere(&mut cluster, 1);
    gate.fall_silent();
    restart_elsewhere(&mut cluster, 0);
    let writer = Writer::start(&cluster);

    let silent = cluster.stores[0].process.as_ref().unwrap();
    silent.signal("-STOP");
    admit(&cluster, 0);
    evict(&cluster, 2);
    std::thread::sleep(SILENCE);
    silent.signal("-CONT");
    let begin = Instant::now();
    wait_for("all leaders on the first store", || cluster.leaders(0) == 5);
    let left = begin.elapsed();
    println!("left after {left:?}");
    writer.stop();
    assert!(left < LONGEST_LEAVE, "{left:?}");
}

#[test]
fn the_client_finds_a_store_that_came_back_elsewhere() {
    let mut cluster = Cluster::only_pd();
    let (name, first) = (ports::address(), ports::address());
    let gate = Gate::open(&name, &first);
    cluster.add_store_at(&name, &first);
    cluster.add_store();
    cluster.add_store();
    cluster.settle();
    let others = [1, 2];
    for index in others {
        evict(&cluster, index);
    }
    wait_for("all leaders on the first store", || cluster.leaders(0) == 5);
    let writer = Writer::start(&cluster);
    for index in others {
        admit(&cluster, index);
    }
    evict(&cluster, 0);
    wait_for("no leader on the first store", || cluster.leaders(0) == 0);
    // Long enough for the client to have learnt it.
    std::thread::sleep(Duration::from_secs(2));
    gate.fall_silent();
    restart_elsewhere(&mut cluster, 0);
    for index in others {
        evict(&cluster, index);
    }
    admit(&cluster, 0);
    wait_for("all leaders on the first store again", || cluster.leaders(0) == 5);
    std::thread::sleep(Duration::from_secs(2));
    // Each attempt of the last seconds failed where a connection to the address of before was waited
    // for: nearly half of them all.
    let summary = writer.stop();
    let number = |field: &str| summary[field].as_u64().unwrap();
    assert!(number("failed") * 10 < number("attempts"), "{summary}");
}

/// A client that writes.
struct Writer {
    books: PathBuf,
    control: String,
    running: JoinHandle<Output>,
}

impl Writer {
    /// Starts one, and waits until it writes.
    fn start(cluster: &Cluster) -> Self {
        let books = cluster.dir.path().join("books.jsonl");
        let free = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let words = format!(
            "continuous --prefix over --seconds 600 --rate 50 --control {port} --books {}",
            books.display()
        );
        let mut command = cluster.check_command(&words);
        let running = std::thread::spawn(move || command.output().unwrap());
        wait_for("the writer", || std::fs::metadata(&books).is_ok_and(|file| file.len() > 0));
        Self { books, control: format!("127.0.0.1:{port}"), running }
    }

    /// Ends it: nothing was lost, and no region waited for long.
    fn stop(self) -> Value {
        http(&self.control, "GET", "/stop", "");
        let done = self.running.join().unwrap();
        let summary: Value = serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
        let waits = longest_waits(&std::fs::read_to_string(&self.books).unwrap());
        println!("longest waits by region {waits:?}; {summary}");
        assert!(done.status.success(), "{summary}");
        assert!(waits.values().all(|wait| *wait < LONGEST_WAIT), "{waits:?}");
        summary
    }
}

/// No leader is to be on the store.
fn evict(cluster: &Cluster, index: usize) {
    let store = cluster.store_ident(index);
    let body = format!(r#"{{"name":"evict-leader-scheduler","store_id":{store}}}"#);
    cluster.pd_change("POST", "/pd/api/v1/schedulers", &body);
}

/// Leaders may be on the store again.
fn admit(cluster: &Cluster, index: usize) {
    let name = format!("evict-leader-scheduler-{}", cluster.store_ident(index));
    cluster.pd_change("DELETE", &format!("/pd/api/v1/schedulers/{name}"), "");
}

/// Restarts a store at an address that it tells PD, and waits until it serves.
fn restart_elsewhere(cluster: &mut Cluster, index: usize) {
    cluster.kill_9(index);
    let address = ports::address();
    cluster.stores[index].listen.clone_from(&address);
    cluster.stores[index].address = address;
    cluster.start_store(index);
    wait_for("it serves", || http(&cluster.stores[index].status, "GET", "/status", "").0 == 200);
}

/// The longest time between two successful writes, by the first key of each region.
fn longest_waits(books: &str) -> BTreeMap<char, Duration> {
    let mut ends = BTreeMap::<char, Vec<u64>>::new();
    for attempt in books.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if attempt["kind"] != "read" && attempt["outcome"] == "ok" {
            let letter = attempt["key"].as_str().unwrap().chars().next().unwrap();
            let region = "ufkpa".chars().filter(|first| *first <= letter).max().unwrap();
            ends.entry(region).or_default().push(attempt["end_us"].as_u64().unwrap());
        }
    }
    let longest = |mut ends: Vec<u64>| {
        ends.sort_unstable();
        ends.windows(2).map(|pair| Duration::from_micros(pair[1] - pair[0])).max().unwrap()
    };
    ends.into_iter().map(|(region, ends)| (region, longest(ends))).collect()
}
