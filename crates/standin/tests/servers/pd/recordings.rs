//! Does the stand-in answer as a real PD v8.5.7 did? Every recording in `fixtures/pd-recordings` is
//! asked again in the state that it was taken in: status, content type, error texts and the shape
//! of the body must be the same. A recording that nothing replays fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::pd::harness::{
    Member, Members, Reply, Stores, ask, eventually, region, store, store_at,
};

/// One file: a request and its answer.
struct Recording {
    method: String,
    path: String,
    body: String,
    status: u16,
    headers: BTreeMap<String, String>,
    answer: String,
}

impl Recording {
    fn parse(text: &str) -> Self {
        let (head, answer) = text.split_once("\n\n").expect("an empty line before the body");
        let mut lines = head.lines();
        let request = lines.next().unwrap().strip_prefix("### ").unwrap();
        let (request, body) = request.split_once(" body: ").unwrap_or((request, ""));
        let (method, path) = request.trim().split_once(' ').unwrap();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            method: method.into(),
            path: path.trim().into(),
            body: body.into(),
            status,
            headers: headers.map(|(key, value)| (key.to_lowercase(), value.into())).collect(),
            answer: answer.to_owned(),
        }
    }

    /// Why `reply` is not what was recorded, if so.
    fn difference(&self, reply: &Reply) -> Option<String> {
        if self.status != reply.status {
            return Some(format!("status {} instead of {}", reply.status, self.status));
        }
        for name in ["content-type", "x-content-type-options", "tidb-error-code"] {
            let got = reply.headers.get(name).map(|value| value.to_str().unwrap());
            if self.headers.get(name).map(String::as_str) != got {
                return Some(format!("{name} {got:?} instead of {:?}", self.headers.get(name)));
            }
        }
        match serde_json::from_str::<Value>(&self.answer) {
            Ok(recorded) => match serde_json::from_str::<Value>(&reply.body) {
                Ok(got) => compare("", "", &recorded, &got),
                Err(error) => Some(format!("not JSON: {error}")),
            },
            Err(_) if self.answer.trim() == reply.body.trim() => None,
            Err(_) => Some(format!("text {:?} instead of {:?}", reply.body, self.answer)),
        }
    }
}

/// Values that differ from run to run: only their kind is compared.
const FREE: [&str; 26] = [
    "member_id",
    "cluster_id",
    "start_timestamp",
    "last_heartbeat",
    "region_score",
    "start_ts",
    "last_heartbeat_ts",
    "uptime",
    "raft_bootstrap_time",
    "git_hash",
    "build_ts",
    "client_urls",
    "peer_urls",
    "client-urls",
    "peer-urls",
    "advertise-client-urls",
    "advertise-peer-urls",
    "initial-cluster",
    "data-dir",
    "filename",
    "leader.name",
    "etcd_leader.name",
    "id.cluster",
    "job",
    "address.metric",
    "read-cost",
];

fn compare(path: &str, key: &str, recorded: &Value, got: &Value) -> Option<String> {
    let differ = |what: String| Some(format!("{path}: {what}"));
    match (recorded, got) {
        (Value::Object(a), Value::Object(b)) => {
            let (left, right): (BTreeSet<_>, BTreeSet<_>) =
                (a.keys().collect(), b.keys().collect());
            if left != right {
                let missing: Vec<_> = left.difference(&right).collect();
                let extra: Vec<_> = right.difference(&left).collect();
                return differ(format!("keys missing {missing:?}, extra {extra:?}"));
            }
            a.iter().find_map(|(name, value)| {
                let qualified = format!("{key}.{name}");
                let key = if FREE.contains(&qualified.as_str()) { &qualified } else { name };
                compare(&format!("{path}/{name}"), key, value, &b[name])
            })
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                return differ(format!("{} items instead of {}", b.len(), a.len()));
            }
            let (mut a, mut b) = (a.clone(), b.clone());
            a.sort_by_key(order);
            b.sort_by_key(order);
            a.iter()
                .zip(&b)
                .enumerate()
                .find_map(|(index, (a, b))| compare(&format!("{path}[{index}]"), key, a, b))
        }
        _ if std::mem::discriminant(recorded) != std::mem::discriminant(got) => {
            differ(format!("{got} instead of {recorded}"))
        }
        (Value::String(text), Value::String(other)) if is_free(key) => {
            free_text(text, other).then_some(()).map_or_else(
                || differ(format!("{other:?} instead of something like {text:?}")),
                |()| None,
            )
        }
        (Value::Number(number), Value::Number(other)) if is_free(key) || path == "/id" => {
            let kinds = |n: &serde_json::Number| {
                (n.as_f64() == Some(0.0), n.is_u64() || key == "region_score")
            };
            (kinds(number) == kinds(other)).then_some(()).map_or_else(
                || differ(format!("{other} instead of something like {number}")),
                |()| None,
            )
        }
        _ if recorded == got => None,
        _ => differ(format!("{got} instead of {recorded}")),
    }
}

/// Lists of members, stores and scheduler names come in no order.
fn order(item: &Value) -> (u64, String) {
    let id = item["store"]["id"].as_u64().unwrap_or_default();
    let name = item["name"].as_str().or(item.as_str()).unwrap_or_default();
    (id, name.to_owned())
}

fn is_free(key: &str) -> bool {
    FREE.contains(&key)
}

/// Times are times, URLs are URLs; the zero times mean something and must be the same.
fn free_text(recorded: &str, got: &str) -> bool {
    if recorded.starts_with("0001-") || recorded.starts_with("1970-") {
        return recorded == got;
    }
    if recorded.starts_with("2026-") && recorded.ends_with('Z') {
        let numbers = got.split(['-', 'T', ':', '.', 'Z']);
        return got.ends_with('Z') && !got.starts_with("1970-") && numbers.count() >= 6;
    }
    recorded.is_empty() == got.is_empty()
        && recorded.starts_with("http://") == got.starts_with("http://")
        && recorded.contains('=') == got.contains('=')
}

/// All recordings, and which of them were replayed.
#[derive(Clone)]
struct Replay {
    recordings: Arc<BTreeMap<String, Recording>>,
    done: Arc<Mutex<BTreeSet<String>>>,
}

impl Replay {
    fn load() -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pd-recordings");
        let mut recordings = BTreeMap::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                let text = std::fs::read_to_string(path).unwrap();
                recordings.insert(name, Recording::parse(&text));
            }
        }
        Self { recordings: Arc::new(recordings), done: Arc::default() }
    }

    /// Asks `member` what the recording asked, and compares.
    async fn check(&self, member: &Member, names: &[&str]) {
        for name in names {
            let recording = &self.recordings[*name];
            let reply = self.ask(member, recording).await.expect("an answer");
            if let Some(difference) = recording.difference(&reply) {
                panic!("{name}: {difference}\ngot {}\n{}", reply.status, reply.body);
            }
            self.done.lock().unwrap().insert((*name).to_owned());
        }
    }

    async fn ask(&self, member: &Member, recording: &Recording) -> Option<Reply> {
        let url = format!("{}{}", member.client, recording.path);
        ask(&recording.method, &url, &recording.body, &[]).await
    }

    /// As [`Replay::check`], once the answer has come to be the recorded one.
    async fn await_then_check(&self, member: &Member, name: &str) {
        let recording = &self.recordings[name];
        eventually(name, || async {
            let reply = self.ask(member, recording).await?;
            recording.difference(&reply).is_none().then_some(())
        })
        .await;
        self.check(member, &[name]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recording_is_answered_alike() {
    let replay = Replay::load();
    tokio::join!(three_members(replay.clone()), one_member(replay.clone()));
    let done = replay.done.lock().unwrap();
    let left: Vec<_> = replay.recordings.keys().filter(|name| !done.contains(*name)).collect();
    assert!(left.is_empty(), "nothing replays {left:?}");
}

/// The first session: three members, no TiKV, then one dies, then another.
async fn three_members(recorded: Replay) {
    let mut members = Members::prepare(3, &[]);
    for member in &mut members.all {
        let log = member.dir.with_extension("file.log");
        member.flags.push(format!("--log-file={}", log.display()));
        member.start();
    }
    members.wait_for_leader().await;
    members.any().post("/pd/api/v1/leader/transfer/pd-1", "").await;
    eventually("pd-1 leads", || async {
        let reply = members.all[1].get("/pd/api/v1/leader").await;
        (reply.status == 200 && reply.json()["name"] == "pd-1").then_some(())
    })
    .await;
    let first = &members.all[0];
    recorded.await_then_check(first, "members").await;
    let at_first = [
        "cluster",
        "cluster-status-unbootstrapped",
        "config",
        "config-replicate",
        "etcd-health",
        "health",
        "leader",
        "member-delete-unknown",
        "ready-v2-unbootstrapped",
        "readyz-v2",
        "schedulers-unbootstrapped",
        "status",
        "store-unknown-unbootstrapped",
        "stores-unbootstrapped",
        "transfer-unknown",
        "version",
        "config-post-ok",
        "config-post-unknown",
    ];
    recorded.check(first, &at_first).await;
    members.all[0].kill();
    recorded.check(&members.all[1], &["members-just-after-leader-killed"]).await;
    let second = &members.all[1];
    recorded.await_then_check(second, "members-one-dead").await;
    recorded.check(second, &["health-one-dead", "member-delete-dead"]).await;
    recorded.await_then_check(second, "members-after-delete").await;
    members.all[2].kill();
    let second = &members.all[1];
    recorded.await_then_check(second, "members-quorum-lost").await;
    recorded.check(second, &["stores-quorum-lost", "health-quorum-lost"]).await;
}

/// The second session: one member with stores that are gRPC clients.
async fn one_member(replay: Replay) {
    let home = tempfile::Builder::new().prefix("pd").tempdir().unwrap();
    // The states of stores are looked at every 20 s: the first answers come before that.
    let member = Member::new("pd-1", home.path()).with_environment("STANDIN_PD_CHECK_MS", "20000");
    let mut members = Members { home, all: vec![member] };
    members.all[0].start();
    let mut stores = Stores::of(&mut members).await;
    let pd = &members.all[0];
    assert_eq!(stores.bootstrap(store(1)).await, None);
    assert_eq!(stores.put(store(2)).await, None);
    assert_eq!(stores.put(store(3)).await, None);
    let first = stores.regions().await;
    let three = region(4, &[(5, 1), (6, 2), (7, 3)], (3, 1));
    first.report(&three, 5, &[], &[]).await;
    replay.await_then_check(pd, "stores-never-heartbeated").await;
    stores.beat_all(&[1, 2, 3]).await;
    new_cluster(&replay, pd).await;
    let started = std::time::Instant::now();
    assert_eq!(stores.put(store_at(10, 3)).await, None);
    let beat = |mut stores: Stores, ids: &'static [u64]| async move { stores.beat_all(ids).await };
    eventually("the fourth store serves", || async {
        beat(stores.clone(), &[1, 2, 3, 10]).await;
        let shown = pd.get("/pd/api/v1/store/10").await;
        (shown.json()["store"]["node_state"] == 1).then_some(())
    })
    .await;
    replay.check(pd, &["stores-four-up"]).await;
    eprintln!("all serve after {:?}", started.elapsed());
    silent_store(&replay, pd, &stores).await;
    removed_store(&replay, pd, &mut stores).await;
}

async fn new_cluster(replay: &Replay, pd: &Member) {
    let names = [
        "stores-up",
        "store-up",
        "cluster-status",
        "ready-v2",
        "regions-count",
        "regions-check-down",
        "regions-check-miss",
        "schedulers",
        "unsafe-show",
        "evict-list-none",
        "evict-add",
        "evict-add-again",
        "evict-add-second",
        "evict-add-string-id",
        "evict-add-unknown-store",
        "evict-list",
        "schedulers-with-evict",
        "evict-delete",
        "evict-delete-again",
        "evict-delete-second",
        "evict-delete-second-again",
        "store-delete-not-enough",
        "store-not-a-number",
        "store-unknown",
        "stores-bad-state",
        "stores-progress-none",
        "label-set",
        "label-unknown-store",
    ];
    replay.check(pd, &names).await;
}

/// Store 1 falls silent: Disconnected after 20 s, Down after `max-store-down-time`.
async fn silent_store(replay: &Replay, pd: &Member, stores: &Stores) {
    let deadline = std::time::Instant::now() + Duration::from_secs(22);
    while std::time::Instant::now() < deadline {
        stores.clone().beat_all(&[2, 3, 10]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let names = [
        "stores-one-disconnected",
        "config-max-down",
        "stores-one-down",
        "stores-check-down",
        "store-delete-down",
        "stores-offline",
        "stores-progress",
        "store-delete-again",
        "store-cancel-offline",
        "store-after-cancel",
        "store-delete-third",
    ];
    replay.check(pd, &names).await;
}

/// The region leaves store 1, which becomes a tombstone and is forgotten.
async fn removed_store(replay: &Replay, pd: &Member, stores: &mut Stores) {
    let second = stores.regions().await;
    let moved = region(4, &[(6, 2), (7, 3), (11, 10)], (5, 1));
    second.report(&moved, 6, &[], &[]).await;
    let beating = stores.clone();
    eventually("store 1 is a tombstone", || async {
        beating.clone().beat_all(&[2, 3, 10]).await;
        let shown = pd.get("/pd/api/v1/store/1").await;
        (shown.json()["store"]["state_name"] == "Tombstone").then_some(())
    })
    .await;
    let names = [
        "store-tombstone",
        "stores-tombstone",
        "stores-after-tombstone",
        "store-delete-tombstone",
        "store-cancel-tombstone",
        "remove-tombstone",
        "store-purged",
        "hot-config",
        "maintenance-none",
        "maintenance-put",
        "maintenance-get",
        "maintenance-conflict",
        "maintenance-delete",
    ];
    replay.check(pd, &names).await;
}
