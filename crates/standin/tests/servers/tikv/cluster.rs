//! How does a test get a cluster? PD and stores as child processes on free loopback ports, in a
//! temporary directory, all of them killed when the test ends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::ports;

/// Seconds that a test waits for what must come. No test measures how fast that is, so that a busy
/// machine fails none; where all is well it is over at once.
pub const PATIENCE: u64 = 240;

/// Fails over in 2-4 seconds instead of TiKV's 10-20; heartbeats to match. Raft's logs are kept
/// short, so that the tests meet their truncation.
pub const QUICK: &str = r#"
[raftstore]
raft-base-tick-interval = "200ms"
pd-heartbeat-tick-interval = "1s"
pd-store-heartbeat-tick-interval = "1s"
raft-log-gc-count-limit = 40
[server]
graceful-shutdown-timeout = "3s"
"#;

/// A child that does not outlive its test.
pub struct Process(Child);

impl Process {
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.0.id().to_string()).status().unwrap();
        assert!(sent.success(), "kill {signal}");
    }

    pub fn kill_9(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// How it ended, once it has.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One store: its addresses and directory stay when its process ends.
pub struct StoreSlot {
    pub name: String,
    /// What it is known by.
    pub address: String,
    pub listen: String,
    pub status: String,
    pub dir: PathBuf,
    pub process: Option<Process>,
}

pub struct Cluster {
    pub dir: TempDir,
    /// The PD that the test asks, and the first that stores are given.
    pub pd: String,
    pub pds: Vec<(String, Process)>,
    pub stores: Vec<StoreSlot>,
    pub config: String,
    pub version: Option<String>,
    /// Further flags of the stores.
    pub flags: Vec<String>,
}

/// Starts `count` PD members as one cluster; their client addresses and processes.
fn start_pds(dir: &Path, count: usize) -> Vec<(String, Process)> {
    let etcd = std::env::var("TEST_ETCD").expect("TEST_ETCD must name the etcd program");
    let members: Vec<(String, String)> =
        (0..count).map(|_| (ports::address(), ports::address())).collect();
    let peers = members.iter().enumerate().map(|(n, (_, peer))| format!("pd-{n}=http://{peer}"));
    let peers = peers.collect::<Vec<_>>().join(",");
    let start = |(n, (client, peer)): (usize, &(String, String))| {
        let log = fs::File::create(dir.join(format!("pd-{n}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pd-server"))
            .arg(format!("--name=pd-{n}"))
            .arg(format!("--data-dir={}", dir.join(format!("pd-{n}")).display()))
            .args([format!("--client-urls=http://{client}"), format!("--peer-urls=http://{peer}")])
            .arg(format!("--initial-cluster={peers}"))
            .env("STANDIN_ETCD", &etcd)
            .env("STANDIN_PD_CHECK_MS", "200")
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        (client.clone(), Process(child))
    };
    members.iter().enumerate().map(start).collect()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let names = self.stores.iter().map(|store| store.name.clone());
        for name in names.chain((0..self.pds.len()).map(|n| format!("pd-{n}"))) {
            let log = fs::read_to_string(self.dir.path().join(format!("{name}.log")));
            let lines: Vec<String> = log.unwrap_or_default().lines().map(str::to_owned).collect();
            let tail = &lines[lines.len().saturating_sub(30)..];
            eprintln!("--- {name} said at last:\n{}", tail.join("\n"));
        }
        for path in ["operators", "stores", "regions"] {
            eprintln!("--- {path}: {}", self.pd_get(&format!("/pd/api/v1/{path}")).1);
        }
    }
}

impl Cluster {
    /// A PD and `stores` stores, all at full replication.
    pub fn start(stores: usize) -> Self {
        let mut cluster = Self::only_pd();
        for _ in 0..stores {
            cluster.add_store();
        }
        cluster.wait_replicated(stores.min(3));
        cluster
    }

    pub fn only_pd() -> Self {
        Self::with_pds(1)
    }

    pub fn with_pds(count: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let pds = start_pds(dir.path(), count);
        let cluster = Self {
            dir,
            pd: pds[0].0.clone(),
            pds,
            stores: Vec::new(),
            config: QUICK.to_owned(),
            version: None,
            flags: Vec::new(),
        };
        wait_for("a PD leader", || cluster.pd_get("/pd/api/v1/leader").0 == 200);
        cluster
    }

    pub fn add_store(&mut self) -> usize {
        let address = ports::address();
        self.add_store_at(&address, &address)
    }

    /// A store that listens elsewhere than at what it is known by.
    pub fn add_store_at(&mut self, address: &str, listen: &str) -> usize {
        let name = format!("tikv-{}", self.stores.len());
        self.stores.push(StoreSlot {
            address: address.to_owned(),
            listen: listen.to_owned(),
            status: ports::address(),
            dir: self.dir.path().join(&name),
            name,
            process: None,
        });
        let index = self.stores.len() - 1;
        self.start_store(index);
        index
    }

    /// `self.pd`, which a test may have changed, and the other members.
    fn endpoints(&self) -> String {
        let others = self.pds.iter().skip(1).map(|(client, _)| client.clone());
        std::iter::once(self.pd.clone()).chain(others).collect::<Vec<_>>().join(",")
    }

    pub fn command(&self, index: usize) -> Command {
        let store = &self.stores[index];
        let config = self.dir.path().join(format!("{}.toml", store.name));
        fs::write(&config, &self.config).unwrap();
        let temp = self.dir.path().join("tmp");
        fs::create_dir_all(&temp).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikv-server"));
        command
            .arg(format!("--config={}", config.display()))
            .args(["--addr", &store.listen, "--advertise-addr", &store.address])
            .args(["--status-addr", &store.status, "--pd-endpoints", &self.endpoints()])
            .arg(format!("--data-dir={}", store.dir.display()))
            .args(&self.flags)
            .env("TMPDIR", temp);
        if let Some(version) = &self.version {
            command.env("STANDIN_TIKV_VERSION", version);
        }
        command
    }

    pub fn start_store(&mut self, index: usize) {
        let log = self.dir.path().join(format!("{}.log", self.stores[index].name));
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let child = self.command(index).stderr(log).stdout(Stdio::null()).spawn().unwrap();
        self.stores[index].process = Some(Process(child));
    }

    /// Starts a store that is expected to end by itself, and returns how.
    pub fn run_store(&self, index: usize) -> (ExitStatus, String) {
        let child =
            self.command(index).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut process = Process(child);
        let Some(status) = process.wait() else { panic!("the store did not end") };
        let mut said = String::new();
        process.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }

    pub fn kill_9(&mut self, index: usize) {
        self.stores[index].process.take().unwrap().kill_9();
    }

    pub fn wipe(&self, index: usize) {
        fs::remove_dir_all(&self.stores[index].dir).unwrap();
    }

    pub fn store_ident(&self, index: usize) -> u64 {
        let path = self.stores[index].dir.join("store-ident.json");
        let ident: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        ident["store_id"].as_u64().unwrap()
    }

    pub fn pd_get(&self, path: &str) -> (u16, String) {
        http(&self.pd, "GET", path, "")
    }

    /// What PD answers once it does: a member that waits for its disk leads for a while no more.
    pub fn pd_json(&self, path: &str) -> Value {
        let mut answer = (0, String::new());
        wait_for(path, || {
            answer = self.pd_get(path);
            answer.0 == 200
        });
        serde_json::from_str(&answer.1).unwrap()
    }

    /// Asks PD to change something, until it does.
    pub fn pd_change(&self, method: &str, path: &str, body: &str) {
        let mut last = (0, String::new());
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        while last.0 != 200 {
            assert!(Instant::now() < deadline, "{method} {path}: {last:?}");
            last = http(&self.pd, method, path, body);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn store_state(&self, id: u64) -> String {
        let (status, body) = self.pd_get(&format!("/pd/api/v1/store/{id}"));
        if status != 200 {
            return format!("{status}: {body}");
        }
        let store: Value = serde_json::from_str(&body).unwrap();
        store["store"]["state_name"].as_str().unwrap().to_owned()
    }

    /// Waits until the five regions have `replicas` voters each and none is pending.
    pub fn wait_replicated(&self, replicas: usize) {
        let full = || {
            let (status, body) = self.pd_get("/pd/api/v1/regions");
            let Some(regions) = serde_json::from_str::<Value>(&body).ok().filter(|_| status == 200)
            else {
                return false;
            };
            let regions = regions["regions"].as_array().cloned().unwrap_or_default();
            regions.len() == 5
                && regions.iter().all(|region| {
                    let peers = region["peers"].as_array().cloned().unwrap_or_default();
                    let voters = peers.iter().filter(|peer| peer["role_name"] == "Voter").count();
                    let pending = region["pending_peers"].as_array().map_or(0, Vec::len);
                    voters == replicas && peers.len() == replicas && pending == 0
                })
        };
        wait_for("full replication", full);
    }

    /// Waits for full replication, after which PD moves nothing any more to spread the load.
    pub fn settle(&self) {
        for kind in ["leader", "region"] {
            let path = format!("/pd/api/v1/schedulers/balance-{kind}-scheduler");
            wait_for("the scheduler's end", || http(&self.pd, "DELETE", &path, "").0 == 404);
        }
        wait_for("the last move", || self.pd_json("/pd/api/v1/operators") == Value::Array(vec![]));
        self.wait_replicated(3);
    }

    pub fn metric(&self, index: usize, name: &str) -> u64 {
        let (_, body) = http(&self.stores[index].status, "GET", "/metrics", "");
        let line = body.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).trim().parse().unwrap()
    }

    pub fn leaders(&self, index: usize) -> u64 {
        self.metric(index, "tikv_raftstore_region_count{type=\"leader\"}")
    }

    pub fn check(&self, words: &str) -> Output {
        self.check_command(words).output().unwrap()
    }

    pub fn check_command(&self, words: &str) -> Command {
        let mut command = Command::new(tikv_check());
        command.args(words.split_whitespace()).args(["--pd", &self.pd]);
        command
    }

    /// Writes keys, which must succeed.
    pub fn write(&self, prefix: &str, count: u64) {
        let done = self.check(&format!("write --prefix {prefix} --count {count}"));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Reads keys back: (whether all are there, the summary).
    pub fn verify(&self, prefix: &str, count: u64, patience: u64) -> (bool, Value) {
        let words = format!("verify --prefix {prefix} --count {count} --patience {patience}");
        let done = self.check(&words);
        let summary = serde_json::from_slice(&done.stdout);
        let summary =
            summary.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&done.stderr).into()));
        (done.status.success(), summary)
    }
}

/// The client's program, which `cargo test --workspace` builds for the client's own test.
fn tikv_check() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_tikv-server")).with_file_name("tikv-check");
    assert!(program.exists(), "no tikv-check: run `cargo test --workspace` once");
    program
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE);
    while !done() {
        assert!(Instant::now() < deadline, "waited {PATIENCE} s for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One HTTP request; (0, reason) when there is no answer.
pub fn http(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let (head, body) = http_parts(address, method, path, body);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, body)
}

/// One HTTP request; the answer's head and body.
pub fn http_parts(address: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = match exchange() {
        Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
        Err(error) => return (String::new(), error.to_string()),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    (head.to_owned(), body)
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        body.push_str(&tail[..size]);
        rest = tail.get(size + 2..).unwrap_or_default();
    }
    body
}
