//! How does a test get PD members and stores? Members are real processes on free loopback ports
//! over a real etcd (`$TEST_ETCD`); stores are gRPC clients that register and send heartbeats.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use standin::proto::metapb::{Peer, Region, RegionEpoch, Store};
use standin::proto::pdpb::{self as pb, pd_client::PdClient};
use tempfile::TempDir;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::ports;

/// One `pd-server` process. Its place stays when the process ends.
pub struct Member {
    pub name: String,
    pub client: String,
    pub peer: String,
    pub dir: PathBuf,
    pub flags: Vec<String>,
    pub program: PathBuf,
    environment: Vec<(String, String)>,
    process: Option<Child>,
}

/// The etcd that the members run: named by the environment, never guessed.
pub fn etcd() -> String {
    std::env::var("TEST_ETCD")
        .expect("TEST_ETCD must name an etcd 3.7 binary: the stand-in for PD runs on a real etcd")
}

/// A URL on a free loopback port.
pub fn free_url() -> String {
    format!("http://{}", ports::address())
}

impl Member {
    pub fn new(name: &str, home: &Path) -> Self {
        Self {
            name: name.to_owned(),
            client: free_url(),
            peer: free_url(),
            dir: home.join(name),
            flags: Vec::new(),
            program: env!("CARGO_BIN_EXE_pd-server").into(),
            environment: vec![
                ("STANDIN_ETCD".into(), etcd()),
                ("STANDIN_PD_CHECK_MS".into(), "500".into()),
            ],
            process: None,
        }
    }

    pub fn with(mut self, flag: String) -> Self {
        self.flags.push(flag);
        self
    }

    pub fn with_environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    pub fn start(&mut self) {
        let log = std::fs::File::create(self.log()).unwrap();
        let child = Command::new(&self.program)
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", self.dir.display()))
            .arg(format!("--client-urls={}", self.client))
            .arg(format!("--peer-urls={}", self.peer))
            .args(&self.flags)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    fn log(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            // Its etcd dies a moment later; until then the next one could not listen.
            let peer = self.peer.trim_start_matches("http://");
            let deadline = Instant::now() + PATIENCE;
            while std::net::TcpListener::bind(peer).is_err() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// How it ended, once it has.
    pub async fn exit(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.as_mut()?.try_wait().unwrap() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub fn wipe(&self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
    }

    pub async fn get(&self, path: &str) -> Reply {
        ask("GET", &format!("{}{path}", self.client), "", &[]).await.unwrap()
    }

    pub async fn try_get(&self, path: &str) -> Option<Reply> {
        ask("GET", &format!("{}{path}", self.client), "", &[]).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        ask("POST", &format!("{}{path}", self.client), body, &[]).await.unwrap()
    }

    pub async fn delete(&self, path: &str) -> Reply {
        ask("DELETE", &format!("{}{path}", self.client), "", &[]).await.unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("--- {} said:\n{}", self.name, self.said());
        }
        self.kill();
    }
}

/// An answer of the HTTP API.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// How long a test waits for what must come. No test measures how fast that is, so that a busy
/// machine fails none; where all is well it is over at once.
const PATIENCE: Duration = Duration::from_mins(4);

/// Longest wait for an answer. No test measures it, and a loaded machine is slow.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// One request; `None` when nobody answers in time.
pub async fn ask(method: &str, url: &str, body: &str, headers: &[(&str, &str)]) -> Option<Reply> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let sent = tokio::time::timeout(ANSWER_TIME, client.request(request)).await;
    let (parts, body) = sent.ok()?.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    })
}

/// Members of one cluster in a directory of their own.
pub struct Members {
    pub all: Vec<Member>,
    pub home: TempDir,
}

impl Members {
    /// `count` members that found a cluster together, with `flags` each; waits for a leader.
    pub async fn start(count: usize, flags: &[&str]) -> Self {
        let mut members = Self::prepare(count, flags);
        members.all.iter_mut().for_each(Member::start);
        members.wait_for_leader().await;
        members
    }

    /// As [`Members::start`], without starting.
    pub fn prepare(count: usize, flags: &[&str]) -> Self {
        let home = tempfile::Builder::new().prefix("pd").tempdir().unwrap();
        let mut all: Vec<Member> =
            (1..=count).map(|n| Member::new(&format!("pd-{n}"), home.path())).collect();
        let cluster: Vec<String> = all.iter().map(|m| format!("{}={}", m.name, m.peer)).collect();
        for member in &mut all {
            member.flags.push(format!("--initial-cluster={}", cluster.join(",")));
            member.flags.extend(flags.iter().map(ToString::to_string));
        }
        Self { all, home }
    }

    /// A further member that joins through the first one's client URL.
    pub fn joining(&self, name: &str) -> Member {
        Member::new(name, self.home.path()).with(format!("--join={}", self.all[0].client))
    }

    pub fn named(&mut self, name: &str) -> &mut Member {
        self.all.iter_mut().find(|member| member.name == name).unwrap()
    }

    /// The leader's name, as soon as a running member knows it and it answers.
    pub async fn wait_for_leader(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for index in 0..self.all.len() {
                if !self.all[index].is_running() {
                    continue;
                }
                if let Some(reply) = self.all[index].try_get("/pd/api/v1/members").await
                    && reply.status == 200
                    && let Some(name) = reply.json()["leader"]["name"].as_str()
                {
                    return name.to_owned();
                }
            }
            assert!(Instant::now() < deadline, "no leader in {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Some running member; any answers for the leader.
    pub fn any(&mut self) -> &Member {
        let index = self.all.iter_mut().position(Member::is_running).unwrap();
        &self.all[index]
    }
}

/// Waits until `look` finds something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The stores' side of PD's protocol.
#[derive(Clone)]
pub struct Stores {
    pub client: PdClient<Channel>,
    pub cluster_id: u64,
}

impl Stores {
    /// A client of the leader.
    pub async fn connect(url: &str) -> Self {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        let mut client = PdClient::new(channel);
        let members = client.get_members(pb::GetMembersRequest::default()).await.unwrap();
        let cluster_id = members.into_inner().header.unwrap().cluster_id;
        Self { client, cluster_id }
    }

    /// A client of whoever leads.
    pub async fn of(members: &mut Members) -> Self {
        let leader = members.wait_for_leader().await;
        Self::connect(&members.named(&leader).client.clone()).await
    }

    pub fn header(&self) -> Option<pb::RequestHeader> {
        Some(pb::RequestHeader { cluster_id: self.cluster_id, sender_id: 0 })
    }

    /// The first store, with the first region on it: id 4, peer 5.
    pub async fn bootstrap(&mut self, store: Store) -> Option<pb::Error> {
        let request = pb::BootstrapRequest {
            header: self.header(),
            region: Some(region(4, &[(5, store.id)], (1, 1))),
            store: Some(store),
        };
        self.client.bootstrap(request).await.unwrap().into_inner().header.unwrap().error
    }

    pub async fn put(&mut self, store: Store) -> Option<pb::Error> {
        let request = pb::PutStoreRequest { header: self.header(), store: Some(store) };
        self.client.put_store(request).await.unwrap().into_inner().header.unwrap().error
    }

    pub async fn beat(&mut self, id: u64) -> Option<pb::Error> {
        self.try_beat(id, false).await.unwrap()
    }

    /// A heartbeat that says whether the store is about to end. An error while PD has no leader.
    pub async fn try_beat(
        &mut self,
        id: u64,
        is_stopping: bool,
    ) -> Result<Option<pb::Error>, tonic::Status> {
        let stats = pb::StoreStats {
            store_id: id,
            is_stopping,
            capacity: 100 << 30,
            available: 90 << 30,
            used_size: 1 << 30,
            ..pb::StoreStats::default()
        };
        let request = pb::StoreHeartbeatRequest {
            header: self.header(),
            stats: Some(stats),
            store_report: None,
        };
        let answer = self.client.store_heartbeat(request).await?;
        Ok(answer.into_inner().header.unwrap().error)
    }

    pub async fn beat_all(&mut self, ids: &[u64]) {
        for id in ids {
            assert_eq!(self.beat(*id).await, None);
        }
    }

    /// A store's stream of region heartbeats.
    pub async fn regions(&mut self) -> RegionStream {
        self.try_regions().await.unwrap()
    }

    /// A report on a stream of its own, which stays open. A real PD answers a stream when it has
    /// something to say, so nobody waits for that.
    pub fn report(&self, region: &Region, leader: u64, pending: &[u64]) {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let request = pb::RegionHeartbeatRequest {
            header: self.header(),
            approximate_size: 10 << 20,
            ..heartbeat(region, leader, pending)
        };
        sender.try_send(request).unwrap();
        let mut client = self.client.clone();
        tokio::spawn(async move {
            let open = client.region_heartbeat(ReceiverStream::new(receiver)).await;
            sender.closed().await;
            drop(open);
        });
    }

    /// As [`Self::regions`]. An error while PD has no leader.
    pub async fn try_regions(&mut self) -> Result<RegionStream, tonic::Status> {
        let (sender, receiver) = tokio::sync::mpsc::channel(64);
        let answers = self.client.region_heartbeat(ReceiverStream::new(receiver)).await?;
        Ok(RegionStream { sender, answers: answers.into_inner(), header: self.header() })
    }
}

/// An open stream of region heartbeats.
pub struct RegionStream {
    sender: tokio::sync::mpsc::Sender<pb::RegionHeartbeatRequest>,
    pub answers: tonic::Streaming<pb::RegionHeartbeatResponse>,
    header: Option<pb::RequestHeader>,
}

impl RegionStream {
    /// The leader's report: `pending` and `down` name peers by id.
    pub async fn report(&self, region: &Region, leader: u64, pending: &[u64], down: &[(u64, u64)]) {
        assert!(self.try_report(region, leader, pending, down).await, "PD ended the stream");
    }

    /// As [`Self::report`]. False where PD has ended the stream.
    pub async fn try_report(
        &self,
        region: &Region,
        leader: u64,
        pending: &[u64],
        down: &[(u64, u64)],
    ) -> bool {
        let peer = |id: &u64| region.peers.iter().find(|peer| peer.id == *id).copied();
        let down = down
            .iter()
            .map(|(id, down_seconds)| pb::PeerStats { peer: peer(id), down_seconds: *down_seconds })
            .collect();
        let request = pb::RegionHeartbeatRequest {
            header: self.header,
            down_peers: down,
            ..heartbeat(region, leader, pending)
        };
        self.sender.send(request).await.is_ok()
    }
}

/// What a region's leader says of it.
fn heartbeat(region: &Region, leader: u64, pending: &[u64]) -> pb::RegionHeartbeatRequest {
    let peer = |id: &u64| region.peers.iter().find(|peer| peer.id == *id).copied();
    pb::RegionHeartbeatRequest {
        leader: peer(&leader),
        pending_peers: pending.iter().filter_map(peer).collect(),
        region: Some(region.clone()),
        term: 6,
        ..pb::RegionHeartbeatRequest::default()
    }
}

/// A store that serves at the address of ordinal `id - 1`.
pub fn store(id: u64) -> Store {
    store_at(id, id - 1)
}

/// A store with this id at the address of an ordinal.
pub fn store_at(id: u64, ordinal: u64) -> Store {
    let host = format!("example-tikv-{ordinal}.example-tikv-peer.default.svc");
    Store {
        id,
        address: format!("{host}:20160"),
        peer_address: format!("{host}:20160"),
        status_address: format!("{host}:20180"),
        version: "8.5.7".into(),
        git_hash: "unknown".into(),
        deploy_path: "/".into(),
        start_timestamp: i64::try_from(
            std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - 5,
        )
        .unwrap(),
        ..Store::default()
    }
}

/// A region over all keys with `(peer, store)` voters and an epoch `(conf_ver, version)`.
pub fn region(id: u64, peers: &[(u64, u64)], (conf_ver, version): (u64, u64)) -> Region {
    Region {
        id,
        region_epoch: Some(RegionEpoch { conf_ver, version }),
        peers: peers
            .iter()
            .map(|(id, store_id)| Peer { id: *id, store_id: *store_id, ..Peer::default() })
            .collect(),
        ..Region::default()
    }
}
