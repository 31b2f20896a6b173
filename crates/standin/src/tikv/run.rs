//! In which order does the server start and end? As TiKV does: check the configuration, take the
//! address, find PD, find out who the store is, start the cluster if nobody did, register, serve.
//! Every step that fails ends the process with the reason; nothing is served before registration.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tonic::service::Routes;
use tonic_health::ServingStatus;

use super::config::Config;
use super::disk_log::DiskLog;
use super::errands;
use super::first_region::first_region;
use super::flags::Flags;
use super::heartbeat::Heartbeat;
use super::identity::{Identity, IdentityFiles, lock_address};
use super::kv_service::KvService;
use super::pd_client::Pd;
use super::peer::RaftTiming;
use super::status_server::{self, StatusServer};
use super::store::{Errand, Store, StoreMessage, StoreSender, StoreSetup, inspect};
use super::version::Version;
use super::wire::{self, Receiving, Wire};
use crate::proto::metapb::{Store as StoreRecord, StoreLabel};
use crate::proto::standinpb::raft_transport_server::RaftTransportServer;
use crate::proto::tikvpb::tikv_server::TikvServer;
use crate::{log, port, start, units};

/// Messages of clients: an entry of 8 MiB and what surrounds it.
const CLIENT_MESSAGE_BYTES: usize = 16 << 20;

/// The region log is rewritten at this size at the latest; `raft-engine.purge-threshold` may lower it.
const REWRITE_AFTER_BYTES: u64 = 16 << 20;

/// What a run needs all along.
struct Server {
    config: Config,
    file: Option<PathBuf>,
    version: Version,
    /// Unix seconds.
    started: u32,
    pd: Pd,
    /// Set once clients are served.
    is_up: Arc<AtomicBool>,
}

/// Runs the server with the process's arguments.
pub fn main() -> ExitCode {
    let flags = match Flags::parse(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(reason) => return start::fail(&reason),
    };
    let from = |name: &str| std::env::var(name).ok();
    let asked = [flags.as_version.clone(), from("STANDIN_TIKV_VERSION"), from("STANDIN_VERSION")];
    let version = Version::choose(asked);
    if flags.version {
        return start::say(&format!(
            "TiKV \nRelease Version:   {}\nEdition:           Stand-in for tests, not TiKV\nGit Commit Hash:   standin",
            version.bare()
        ));
    }
    match configure(&flags) {
        Err(reason) => start::fail(&reason),
        Ok(config) if flags.config_check && config.unknown.is_empty() => {
            start::say("config check successful")
        }
        Ok(config) if flags.config_check => {
            let unknown = config.unknown.join(", ");
            start::fail(&format!("unknown configuration options: {unknown}"))
        }
        Ok(config) => start::run(run(config, flags.config, version)),
    }
}

fn configure(flags: &Flags) -> Result<Config, String> {
    let mut config = match &flags.config {
        None => Config::defaults()?,
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| Config::from_toml(&text))
            .map_err(|reason| {
                let path = path.display();
                format!("invalid auto generated configuration file {path}, err {reason}")
            })?,
    };
    flags.overlay(&mut config)?;
    config.complete()?;
    Ok(config)
}

async fn run(config: Config, file: Option<PathBuf>, version: Version) -> Result<u8, String> {
    log::set_level(config.text("log.level"));
    let log_file = config.text("log.file.filename");
    if !log_file.is_empty() {
        log::to_file(log_file.as_ref())?;
    }
    log::info(&format!("stand-in for TiKV {version}: a test fixture, not TiKV"));
    for key in &config.unknown {
        log::warn(&format!("unknown configuration option {key} is ignored"));
    }
    let mut terminated = termination()?;
    let _address = lock_address(config.text("server.addr"))?;
    let pd = Pd::new(&config.list("pd.endpoints"));
    let is_up = Arc::new(AtomicBool::new(false));
    let started = u32::try_from(units::now_nanos() / units::SECOND).unwrap_or(u32::MAX);
    let server = Server { config, file, version, started, pd, is_up: Arc::clone(&is_up) };
    let mut ended = std::pin::pin!(server.serve());
    loop {
        tokio::select! {
            ended = &mut ended => return ended.map(|()| 0),
            _ = terminated.recv() => if !is_up.load(Ordering::Relaxed) {
                // Nothing to move away yet; afterwards `serve` honours the signal itself.
                return Ok(0);
            },
        }
    }
}

fn termination() -> Result<Signal, String> {
    signal(SignalKind::terminate()).map_err(|error| error.to_string())
}

impl Server {
    /// Runs until SIGTERM was honoured.
    async fn serve(self) -> Result<(), String> {
        let (_, header) = self.pd.patiently("find PD", || self.pd.leader()).await?;
        let cluster_id = header.cluster_id;
        let files = IdentityFiles::new(self.config.text("storage.data-dir").as_ref())?;
        let identity = self.identify(&files, cluster_id).await?;
        let store_id = identity.store_id;
        let record = self.record(store_id);
        let first = first_region(&self.pd, &files, identity, &record).await?;

        let (inbox, messages) = mpsc::channel();
        let (errands, waiting) = tokio::sync::mpsc::unbounded_channel();
        let mut store = self.open_store(store_id, &files, errands)?;
        let is_starter = first.is_some() || identity.first_region.is_some();
        if let Some(region) = first {
            store.begin(region)?;
            store.flush()?;
        }
        if is_starter {
            // The region is in the log now, or another store was first.
            files.write(Identity { first_region: None, ..identity })?;
        }
        self.pd.patiently("failed to start node: put store", || self.pd.put_store(&record)).await?;

        let mut thread = run_thread(store, messages)?;
        let wire = Wire::new(self.pd.clone(), inbox.clone(), cluster_id);
        tokio::spawn(errands::run(waiting, wire, self.pd.clone(), inbox.clone()));
        let heartbeat = Heartbeat::new(store_id, self.started, &self.config);
        let (health, health_service) = tonic_health::server::health_reporter();
        let tombstone = Arc::clone(&heartbeat.tombstone);
        let kv = TikvServer::new(KvService { store: inbox.clone(), store_id, tombstone });
        let raft = RaftTransportServer::new(Receiving { store: inbox.clone(), cluster_id });
        let services = Routes::new(kv.max_decoding_message_size(CLIENT_MESSAGE_BYTES))
            .add_service(raft.max_decoding_message_size(wire::MESSAGE_BYTES))
            .add_service(health_service);
        port::serve(self.config.text("server.addr"), services.into_axum_router()).await?;
        let status = self.serve_status(&inbox).await?;
        let stopping = Arc::clone(&heartbeat.stopping);
        tokio::spawn(heartbeat.run(self.pd.clone(), inbox.clone()));
        let mut terminated = termination()?;
        self.is_up.store(true, Ordering::Relaxed);
        status.serving.store(true, Ordering::Relaxed);
        log::info(&format!("store {store_id} serves"));

        tokio::select! {
            ended = &mut thread => return ended.map_err(|_| "the store's thread panicked")?,
            _ = terminated.recv() => {}
        }
        if self.version.evicts_when_stopping() {
            stopping.notify_one();
            await_eviction(&status, &inbox).await;
        }
        status.serving.store(false, Ordering::Relaxed);
        health.set_service_status("", ServingStatus::NotServing).await;
        // The thread finishes its round, so nothing acknowledged is left unwritten.
        let _ = inbox.send(StoreMessage::Stop);
        thread.await.map_err(|_| "the store's thread panicked")?
    }

    /// Who this store is; a new one gets its id from PD.
    async fn identify(&self, files: &IdentityFiles, cluster_id: u64) -> Result<Identity, String> {
        if let Some(identity) = files.read(cluster_id)? {
            return Ok(identity);
        }
        let store_id = self.pd.patiently("alloc id", || self.pd.alloc_id()).await?;
        let identity = Identity { cluster_id, store_id, first_region: None };
        files.write(identity)?;
        log::info(&format!("new store {store_id} of cluster {cluster_id}"));
        Ok(identity)
    }

    fn record(&self, id: u64) -> StoreRecord {
        let text = |key: &str| self.config.text(key).to_owned();
        let labels = self.config.get("server.labels").and_then(|labels| labels.as_object());
        let label = |(key, value): (&String, &serde_json::Value)| StoreLabel {
            key: key.clone(),
            value: value.as_str().unwrap_or_default().to_owned(),
        };
        let program = std::env::current_exe().unwrap_or_default();
        StoreRecord {
            id,
            address: text("server.advertise-addr"),
            peer_address: text("server.advertise-addr"),
            status_address: text("server.advertise-status-addr"),
            labels: labels.into_iter().flatten().map(label).collect(),
            version: self.version.bare().to_owned(),
            git_hash: "standin".to_owned(),
            start_timestamp: self.started.into(),
            deploy_path: program.parent().unwrap_or(&program).display().to_string(),
            ..StoreRecord::default()
        }
    }

    /// The store as its log has it.
    fn open_store(
        &self,
        store_id: u64,
        files: &IdentityFiles,
        errands: tokio::sync::mpsc::UnboundedSender<Errand>,
    ) -> Result<Store, String> {
        let config = &self.config;
        let ticks = |key: &str| usize::try_from(config.number(key)).unwrap_or(usize::MAX);
        let rewrite_after = config.bytes("raft-engine.purge-threshold").min(REWRITE_AFTER_BYTES);
        let opened = DiskLog::open(&files.log_dir(), rewrite_after);
        let (log, records) = opened.map_err(|error| error.to_string())?;
        let mut store = Store::new(StoreSetup {
            store_id,
            timing: RaftTiming {
                tick: config.duration("raftstore.raft-base-tick-interval"),
                heartbeat_ticks: ticks("raftstore.raft-heartbeat-ticks"),
                election_ticks: ticks("raftstore.raft-election-timeout-ticks"),
            },
            report_every: config.duration("raftstore.pd-heartbeat-tick-interval"),
            down_after: config.duration("raftstore.max-peer-down-duration"),
            log,
            errands,
        });
        store.recover(records)?;
        Ok(store)
    }

    async fn serve_status(&self, store: &StoreSender) -> Result<Arc<StatusServer>, String> {
        let server = Arc::new(StatusServer {
            config: Mutex::new(self.config.clone()),
            file: self.file.clone(),
            store: store.clone(),
            version: self.version.clone(),
            started: self.started,
            serving: AtomicBool::new(false),
        });
        let address = self.config.text("server.status-addr");
        // Without an address it is switched off, as the real one can be.
        if !address.is_empty() {
            let answering = Arc::clone(&server);
            let answer = move |ask| status_server::answer(Arc::clone(&answering), ask);
            port::serve(address, port::routes(axum::Router::new(), answer)).await?;
        }
        Ok(server)
    }
}

/// Waits until PD, which the heartbeat has told, has moved all leaders away, or until the time is
/// over: with a PD that does not (older than v8.5.5, another store stopping too) or with nobody to
/// take them that is the whole `server.graceful-shutdown-timeout`.
async fn await_eviction(status: &StatusServer, store: &StoreSender) {
    let config = status.config.lock();
    let timeout = config.map(|config| config.duration("server.graceful-shutdown-timeout"));
    let deadline = Instant::now() + timeout.unwrap_or_default();
    while Instant::now() < deadline && inspect(store).await.is_some_and(|has| has.led() > 0) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs the store on a thread of its own; the handle answers when it ends.
fn run_thread(
    store: Store,
    messages: mpsc::Receiver<StoreMessage>,
) -> Result<oneshot::Receiver<Result<(), String>>, String> {
    let (ended, end) = oneshot::channel();
    let thread = std::thread::Builder::new().name("raftstore".to_owned());
    let run = move || drop(ended.send(store.run(&messages)));
    thread.spawn(run).map_err(|error| error.to_string())?;
    Ok(end)
}
