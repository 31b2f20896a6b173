//! The operator and servers of older releases: one PD and one store, run as each of them, from
//! nothing to Ready, through changes, and until PD is gone. The servers are the stand-ins, which lack
//! what the release lacked; `$TEST_STANDINS` names the directory of their programs.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use http::uri::Authority;
use kube::{
    Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tikv_operator::{
    lease::Fence,
    metrics::Metrics,
    observe::Memory,
    pd::{Change, Depth, Limits, PdClient, Transport},
    store::StoreClient,
};
use tikv_operator_core::world::{Maintenance, PdFacts, PdView, StoreFacts, StoreId, StoreState};

use crate::{
    PATIENCE,
    kubelet::Kubelet,
    operator::{Operator, has, wait_for},
    router::Router,
    server::{api, apply, clusters, server},
};

/// Where the store's status port is, as its pod is called.
const STATUS: &str = "c-tikv-0.c-tikv-peer:20180";

/// What differs from release to release, as far as it is seen here.
struct Release {
    version: &'static str,
    /// PD has the lock for disruptive work.
    has_lock: bool,
    /// PD refuses a removal that leaves too few stores.
    counts_stores: bool,
}

/// A server that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback address of this process alone.
fn address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(21_000);
    let process = std::process::id();
    let (high, low) = (1 + process / 256 % 250, process % 256);
    format!("127.{high}.{low}.2:{}", NEXT.fetch_add(1, Ordering::SeqCst))
}

fn start(program: &str, version: &str, home: &std::path::Path, args: &[String]) -> Process {
    let standins = std::env::var("TEST_STANDINS").expect(
        "TEST_STANDINS must name the directory of pd-server and tikv-server (target/debug of \
         crates/standin, where `cargo build --manifest-path crates/standin/Cargo.toml` puts them)",
    );
    let log = std::fs::File::create(home.join(format!("{program}.log"))).unwrap();
    let mut command = Command::new(std::path::Path::new(&standins).join(program));
    command.args(args).arg(format!("--as-version={version}"));
    command.env("STANDIN_ETCD", std::env::var("TEST_ETCD").expect("TEST_ETCD"));
    command.env("STANDIN_PD_CHECK_MS", "500").env("TMPDIR", home);
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

/// The servers of one cluster, as the release.
struct Servers {
    version: &'static str,
    home: std::path::PathBuf,
    pd: Option<Process>,
    pd_address: String,
    status: String,
    store: Option<Process>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for program in ["pd-server", "tikv-server"] {
                let log = std::fs::read_to_string(self.home.join(format!("{program}.log")));
                let lines: Vec<String> =
                    log.unwrap_or_default().lines().map(str::to_owned).collect();
                eprintln!("--- {program}: {}", lines[lines.len().saturating_sub(10)..].join("\n"));
            }
        }
        self.store.take();
        self.pd.take();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

impl Servers {
    /// PD, under the name that its pod has.
    fn pd(version: &'static str) -> Self {
        let name = format!("tikv-operator-release-{version}-{}", std::process::id());
        let home = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&home).unwrap();
        let (client, peer) = (address(), address());
        let args = [
            "--name=c-pd-0".to_owned(),
            format!("--data-dir={}", home.join("pd").display()),
            format!("--client-urls=http://{client}"),
            format!("--peer-urls=http://{peer}"),
            format!("--initial-cluster=c-pd-0=http://{peer}"),
        ];
        let pd = Some(start("pd-server", version, &home, &args));
        let (pd_address, status) = (client, address());
        Self { version, home, pd, pd_address, status, store: None }
    }

    /// The store, with the flags that the operator gives its pod.
    fn start_store(&mut self, namespace: &str, flags: &[String]) {
        let host = format!("c-tikv-0.c-tikv-peer.{namespace}.svc");
        let kept = |flag: &&String| flag.starts_with("--advertise-");
        let file = self.home.join("tikv.toml");
        let quick = "[raftstore]\nraft-base-tick-interval = \"200ms\"\n\
                     pd-heartbeat-tick-interval = \"1s\"\npd-store-heartbeat-tick-interval = \"1s\"\n";
        std::fs::write(&file, quick).unwrap();
        let mut args = vec![
            format!("--addr={}", address()),
            format!("--status-addr={}", self.status),
            format!("--pd-endpoints={}", self.pd_address),
            format!("--data-dir={}", self.home.join("tikv").display()),
            format!("--config={}", file.display()),
        ];
        args.extend(flags.iter().filter(kept).cloned());
        assert!(args.contains(&format!("--advertise-addr={host}:20160")), "{args:?}");
        self.store = Some(start("tikv-server", self.version, &self.home, &args));
    }
}

/// PD and the store as the operator's own clients see them.
struct Eyes {
    pd: PdClient,
    stores: StoreClient,
    members: Vec<Authority>,
    fence: Fence,
}

impl Eyes {
    fn new(through: &str, pd: &str) -> Self {
        let transport = Transport::new(Limits::default(), Some(through.parse().unwrap()));
        let fence = Fence::new();
        fence.open(tokio::time::Instant::now() + Duration::from_mins(30));
        Self {
            pd: PdClient::new(transport.clone(), Metrics::new()),
            stores: StoreClient::new(transport, Metrics::new()),
            members: vec![pd.parse().unwrap()],
            fence,
        }
    }

    async fn facts(&self) -> Result<PdFacts, String> {
        let answer = self.pd.look(&self.members, Depth::Full).await;
        match Memory::default().hear_pd(answer, tokio::time::Instant::now()) {
            PdView::Known(facts) => Ok(*facts),
            other => Err(format!("{other:?}")),
        }
    }

    async fn change(&self, change: Change<'_>) -> Result<(), String> {
        let changed = self.pd.change(&self.fence, &self.members, change).await;
        changed.map_err(|error| error.to_string())
    }

    /// The store's facts once they are as wanted.
    async fn store(
        &self,
        what: &str,
        wanted: impl Fn(&PdFacts, &StoreFacts) -> bool,
    ) -> StoreFacts {
        let start = Instant::now();
        loop {
            let facts = self.facts().await;
            if let Ok(facts) = &facts
                && let Some(store) = facts.stores.values().next()
                && wanted(facts, store)
            {
                return store.clone();
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {facts:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Everything that the operator asks of PD and tells it, and what it makes of the answers.
async fn pd_is_understood(release: &Release, eyes: &Eyes) {
    let store = eyes.store("serving", |_, store| store.serving && store.regions > 0).await;
    assert_eq!(store.version, release.version.trim_start_matches('v'));
    assert!(store.started.is_some() && store.last_heartbeat.is_some(), "{store:?}");
    assert!(store.capacity.is_some() && !store.physically_destroyed, "{store:?}");
    let facts = eyes.facts().await.unwrap();
    assert!(facts.bootstrapped && facts.regions > 0 && facts.fewest_peers == Some(1), "{facts:?}");
    assert_eq!(facts.max_replicas, Some(3));
    assert_eq!(facts.members.values().map(|m| m.healthy).collect::<Vec<_>>(), [true]);
    // The only store of all regions may not go away.
    assert_eq!(facts.critical.unwrap().into_values().collect::<Vec<_>>(), [facts.regions]);
    assert_eq!(facts.maintenance == Maintenance::Unsupported, !release.has_lock);
    assert_eq!(facts.unsafe_recovery, None, "not asked");

    let id = store.id;
    eyes.change(Change::Evict(id)).await.unwrap();
    eyes.store("evicted", |facts, _| facts.evicting == [id].into()).await;
    eyes.change(Change::StopEvicting(id)).await.unwrap();
    eyes.change(Change::StopEvicting(id)).await.unwrap();
    eyes.store("not evicted", |facts, _| facts.evicting.is_empty()).await;

    let labels = [("zone".to_owned(), "a".to_owned())].into();
    eyes.change(Change::Label(id, &labels)).await.unwrap();
    eyes.store("labelled", |_, store| store.labels == labels).await;

    let removed = eyes.change(Change::Offline(id)).await;
    if release.counts_stores {
        assert!(removed.unwrap_err().contains("up stores"));
    } else {
        removed.unwrap();
        eyes.store("leaving", |_, store| store.state == StoreState::Offline).await;
        assert_eq!(eyes.facts().await.unwrap().unsafe_recovery, Some(false));
    }
    eyes.change(Change::Keep(id)).await.unwrap();
    eyes.store("kept", |_, store| store.state == StoreState::Up && store.serving).await;
    assert!(eyes.change(Change::Keep(StoreId(999))).await.is_err());
}

fn manifest(namespace: &str, version: &str) -> Value {
    json!({
        "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
        "metadata": { "name": "c", "namespace": namespace },
        "spec": { "version": version, "pd": { "replicas": 1 }, "tikv": { "replicas": 1 } },
    })
}

/// The flags of the store's pod, which is made once PD answers, where no store has ever registered.
async fn flags_of_the_store(admin: &Client, namespace: &str) -> Vec<String> {
    let (pods, start) = (api(admin, "", "Pod", namespace), Instant::now());
    loop {
        if let Some(pod) = pods.get_opt("c-tikv-0").await.unwrap() {
            let flags = serde_json::to_value(pod).unwrap()["spec"]["containers"][0]["args"].take();
            return serde_json::from_value(flags).unwrap();
        }
        let status = clusters(admin, namespace).get("c").await.unwrap().data["status"].clone();
        assert!(start.elapsed() < PATIENCE, "no store is made: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn uids(admin: &Client, namespace: &str) -> Vec<String> {
    let list = api(admin, "", "Pod", namespace).list(&ListParams::default()).await.unwrap();
    list.into_iter().map(|pod| pod.metadata.uid.unwrap()).collect()
}

/// Settings are changed in PD and in the store while they run.
async fn settings_change(admin: &Client, namespace: &str, eyes: &Eyes) {
    let wanted = json!({ "spec": {
        "pd": { "config": { "schedule": { "max-store-down-time": "1h" } } },
        "tikv": { "config": { "raftstore": { "raft-max-inflight-msgs": 77 } } },
    } });
    let patch = Patch::Merge(&wanted);
    clusters(admin, namespace).patch("c", &PatchParams::default(), &patch).await.unwrap();
    let status: Authority = STATUS.parse().unwrap();
    let start = Instant::now();
    loop {
        let store = eyes.stores.config(&status).await.unwrap();
        let pd = eyes.pd.config(&eyes.members).await.unwrap();
        let of_pd = &pd["schedule"]["max-store-down-time"];
        let of_store = &store["raftstore"]["raft-max-inflight-msgs"];
        if (of_store, of_pd) == (&json!(77), &json!("1h0m0s")) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the settings are {of_store} and {of_pd}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_for(admin, namespace, "c", PATIENCE, |resource| {
        has(resource, "Ready", "True") && has(resource, "Progressing", "False")
    })
    .await;
    assert!(eyes.stores.leaders(&status).await.unwrap() > 0);
}

/// The whole life of a cluster of the release.
async fn lives(release: &Release) {
    let server = server().await;
    let name = format!("release-{}", release.version.replace('.', "-"));
    let (namespace, admin) = (server.namespace(&name).await, server.admin());
    let mut servers = Servers::pd(release.version);
    let router = Router::run(&servers.pd_address, "c-tikv-0", &servers.status).await;
    let _kubelet = Kubelet::run(&admin, &namespace, Arc::new(|_| true));
    let client = Client::try_from(server.operator().0).unwrap();
    apply(&admin, &manifest(&namespace, release.version)).await;
    let operator = Operator::start(client, &namespace, "operator", &router.address);
    servers.start_store(&namespace, &flags_of_the_store(&admin, &namespace).await);
    let ready = |resource: &Value| has(resource, "Ready", "True");
    wait_for(&admin, &namespace, "c", PATIENCE, ready).await;

    let before = uids(&admin, &namespace).await;
    let eyes = Eyes::new(&router.address, &servers.pd_address);
    settings_change(&admin, &namespace, &eyes).await;
    drop(operator);
    pd_is_understood(release, &eyes).await;

    servers.pd.take();
    assert!(eyes.facts().await.unwrap_err().contains("Unreachable"));
    assert_eq!(uids(&admin, &namespace).await, before, "a pod was replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn v4_0_0_is_run() {
    Box::pin(lives(&Release { version: "v4.0.0", has_lock: false, counts_stores: false })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v5_3_0_is_run() {
    Box::pin(lives(&Release { version: "v5.3.0", has_lock: false, counts_stores: false })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v6_5_0_is_run() {
    Box::pin(lives(&Release { version: "v6.5.0", has_lock: false, counts_stores: true })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v7_5_0_is_run() {
    Box::pin(lives(&Release { version: "v7.5.0", has_lock: false, counts_stores: true })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_5_7_is_run() {
    Box::pin(lives(&Release { version: "v8.5.7", has_lock: true, counts_stores: true })).await;
}
