//! In which order does the server start and end? As TiKV does: check the configuration, take the
//! address, find PD, find out who the store is, start the cluster if nobody did, register, serve.
//! Every step that fails ends the process with the reason; nothing is served before registration.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tonic::service::Routes;

use super::config::Config;
use super::disk::Disk;
use super::errands;
use super::first_region::first_regions;
use super::flags::Flags;
use super::heartbeat::Heartbeat;
use super::identity::{Identity, lock_address};
use super::kv_service::KvService;
use super::pd_client::Pd;
use super::peer::RaftTiming;
use super::status_server;
use super::store::{Store, StoreMessage, StoreSender, inspect};
use super::wire::{self, Receiving, Wire};
use crate::proto::metapb::{Store as StoreRecord, StoreLabel};
use crate::proto::standinpb::raft_transport_server::RaftTransportServer;
use crate::proto::tikvpb::tikv_server::TikvServer;
use crate::version::{Feature, Version};
use crate::{logs, port, start, units};

/// Messages of clients: an entry of 8 MiB and what surrounds it.
const CLIENT_MESSAGE_BYTES: usize = 16 << 20;

/// Entries that are kept for followers that lag, at most; a real store keeps far more.
const KEPT_ENTRIES: u64 = 2_000;

/// What a run needs all along.
pub struct Server {
    /// The configuration, which POST changes.
    pub config: Mutex<Config>,
    /// Which TiKV this store is.
    pub version: Version,
    /// The same with what comes behind its numbers.
    pub version_text: String,
    /// Unix seconds.
    pub started: u32,
    /// True from registration to shutdown.
    pub serving: AtomicBool,
}

/// Runs the server with the process's arguments.
pub fn main() -> ExitCode {
    start::end(begin())
}

fn begin() -> Result<ExitCode> {
    let flags = Flags::parse(std::env::args().skip(1))?;
    let (version, version_text) = start::version(flags.get("as-version"), "STANDIN_TIKV_VERSION")?;
    if flags.get("V").is_some() {
        return Ok(start::say(&format!(
            "TiKV \nRelease Version:   {version_text}\nEdition:           Stand-in for tests, \
             not TiKV\nGit Commit Hash:   standin"
        )));
    }
    let config = configure(&flags, version)?;
    let started = u32::try_from(units::now_nanos() / units::SECOND).unwrap_or(u32::MAX);
    let (serving, shared) = (AtomicBool::new(false), Mutex::new(config.clone()));
    let server = Server { config: shared, version, version_text, started, serving };
    start::run(run(config, server))
}

fn configure(flags: &Flags, version: Version) -> Result<Config> {
    let mut config = match flags.get("config") {
        None => Config::from_toml("", version)?,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(anyhow::Error::from);
            text.and_then(|text| Config::from_toml(&text, version))
                .with_context(|| format!("invalid auto generated configuration file {path}, err"))?
        }
    };
    flags.overlay(&mut config, version)?;
    config.complete()?;
    Ok(config)
}

async fn run(config: Config, server: Server) -> Result<u8> {
    logs::start(config.text("log.file.filename").as_ref(), config.text("log.level"))?;
    log::info!("stand-in for TiKV {}: a test fixture, not TiKV", server.version_text);
    for key in &config.unknown {
        log::warn!("unknown configuration option {key} is ignored");
    }
    let mut terminated = signal(SignalKind::terminate())?;
    let _address = lock_address(config.text("server.addr"))?;
    let running = tokio::select! {
        running = begin_serving(&config, Arc::new(server)) => running?,
        // Nothing to move away yet.
        _ = terminated.recv() => return Ok(0),
    };
    running.until(terminated).await.map(|()| 0)
}

/// A store that serves.
struct Running {
    server: Arc<Server>,
    /// Answers when the store's thread ends.
    thread: oneshot::Receiver<Result<()>>,
    inbox: StoreSender,
    /// Tells the heartbeat that the store begins to stop.
    stopping: Arc<Notify>,
}

async fn begin_serving(config: &Config, server: Arc<Server>) -> Result<Running> {
    let pd = Pd::new(&config.list("pd.endpoints"));
    let (_, header) = pd.patiently("find PD", || pd.leader()).await?;
    let cluster_id = header.cluster_id;
    let dir: &Path = config.text("storage.data-dir").as_ref();
    std::fs::create_dir_all(dir).with_context(|| format!("data directory {}", dir.display()))?;
    let known = Identity::read(dir, cluster_id)?;
    let disk = Disk::open(dir, known.is_some())?;
    let mut identity = match known {
        Some(identity) => identity,
        None => Identity::new(&pd, cluster_id, dir).await?,
    };
    let store_id = identity.store_id;
    let record = record(store_id, config, &server);
    let first = first_regions(&pd, dir, &identity, &record).await?;

    let (inbox, messages) = mpsc::channel();
    let (errands, waiting) = tokio::sync::mpsc::unbounded_channel();
    let mut store = Store::new(store_id, timing(config), disk, errands)?;
    store.begin(first)?;
    // The regions are on disk now, or another store was first.
    identity.first_regions.clear();
    identity.write(dir)?;
    pd.patiently("failed to start node: put store", || pd.put_store(&record)).await?;

    let (ended, thread) = oneshot::channel();
    let builder = std::thread::Builder::new().name("raftstore".to_owned());
    builder.spawn(move || drop(ended.send(store.run(&messages))))?;
    let wire = Wire::new(pd.clone(), inbox.clone(), cluster_id);
    tokio::spawn(errands::run(waiting, wire, pd.clone(), inbox.clone()));
    let heartbeat = Heartbeat::new(store_id, server.started, config);
    let tombstone = Arc::clone(&heartbeat.tombstone);
    let kv = TikvServer::new(KvService { store: inbox.clone(), store_id, tombstone });
    let raft = RaftTransportServer::new(Receiving { store: inbox.clone(), cluster_id });
    let services = Routes::new(kv.max_decoding_message_size(CLIENT_MESSAGE_BYTES))
        .add_service(raft.max_decoding_message_size(wire::MESSAGE_BYTES));
    port::serve(config.text("server.addr"), services.into_axum_router()).await?;
    let status_address = config.text("server.status-addr");
    // Without an address it is switched off, as the real one can be.
    if !status_address.is_empty() {
        let (answering, store) = (Arc::clone(&server), inbox.clone());
        let answer = move |ask| status_server::answer(Arc::clone(&answering), store.clone(), ask);
        port::serve(status_address, port::routes(axum::Router::new(), answer)).await?;
    }
    let stopping = Arc::clone(&heartbeat.stopping);
    tokio::spawn(heartbeat.run(pd, inbox.clone()));
    server.serving.store(true, Ordering::Relaxed);
    log::info!("store {store_id} serves");
    Ok(Running { server, thread, inbox, stopping })
}

impl Running {
    /// Serves until SIGTERM was honoured.
    async fn until(mut self, mut terminated: Signal) -> Result<()> {
        tokio::select! {
            ended = &mut self.thread => return ended.context("the store's thread panicked")?,
            _ = terminated.recv() => {}
        }
        if self.server.version.has(Feature::GRACEFUL_STOP) {
            self.stopping.notify_one();
            self.await_eviction().await;
        }
        self.server.serving.store(false, Ordering::Relaxed);
        // The thread finishes its round, so nothing acknowledged is left unwritten.
        let _ = self.inbox.send(StoreMessage::Stop);
        self.thread.await.context("the store's thread panicked")?
    }

    /// Waits until PD, which the heartbeat has told, has moved all leaders away, or until the time
    /// is over: with a PD that does not (older than v8.5.5, another store stopping too) or with
    /// nobody to take them that is the whole `server.graceful-shutdown-timeout`.
    async fn await_eviction(&self) {
        let config = self.server.config.lock();
        let timeout = config.map(|config| config.duration("server.graceful-shutdown-timeout"));
        let deadline = Instant::now() + timeout.unwrap_or_default();
        while Instant::now() < deadline
            && inspect(&self.inbox).await.is_some_and(|has| has.led() > 0)
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What PD is told of the store.
fn record(id: u64, config: &Config, server: &Server) -> StoreRecord {
    let text = |key: &str| config.text(key).to_owned();
    let labels = config.get("server.labels").and_then(|labels| labels.as_object());
    let label = |(key, value): (&String, &serde_json::Value)| StoreLabel {
        key: key.clone(),
        value: value.as_str().unwrap_or_default().to_owned(),
    };
    let program = std::env::current_exe().unwrap_or_default();
    StoreRecord {
        id,
        address: text("server.advertise-addr"),
        peer_address: text("server.advertise-addr"),
        status_address: text(if server.version.has(Feature::ADVERTISE_STATUS) {
            "server.advertise-status-addr"
        } else {
            "server.status-addr"
        }),
        labels: labels.into_iter().flatten().map(label).collect(),
        version: server.version_text.clone(),
        git_hash: "standin".to_owned(),
        start_timestamp: server.started.into(),
        deploy_path: program.parent().unwrap_or(&program).display().to_string(),
        ..StoreRecord::default()
    }
}

fn timing(config: &Config) -> RaftTiming {
    let ticks = |key: &str| usize::try_from(config.number(key)).unwrap_or(usize::MAX);
    RaftTiming {
        tick: config.duration("raftstore.raft-base-tick-interval"),
        heartbeat_ticks: ticks("raftstore.raft-heartbeat-ticks"),
        election_ticks: ticks("raftstore.raft-election-timeout-ticks"),
        kept_entries: config.number("raftstore.raft-log-gc-count-limit").min(KEPT_ENTRIES),
        report_every: config.duration("raftstore.pd-heartbeat-tick-interval"),
        down_after: config.duration("raftstore.max-peer-down-duration"),
    }
}
