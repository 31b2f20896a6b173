//! In which order does the server start and end? As TiKV does: check the configuration, take the
//! address, find PD, find out who the store is, start the cluster if nobody did, register, serve.
//! Every step that fails ends the process with the reason; nothing is served before registration.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio_stream::wrappers::TcpListenerStream;

use super::config::Config;
use super::disk_log::DiskLog;
use super::errands::{self, Heartbeat};
use super::flags::Flags;
use super::health::HealthService;
use super::identity::{Identity, IdentityFiles, lock_address};
use super::kv_service::KvService;
use super::log::{self, Level};
use super::pd_client::{Pd, PdError};
use super::peer::RaftTiming;
use super::process;
use super::status_server::StatusServer;
use super::store::{Store, StoreMessage, StoreSender, StoreSetup};
use super::version::Version;
use super::wire::{self, Receiving, Wire};
use crate::proto::health::health_server::HealthServer;
use crate::proto::metapb::{Peer, Region, RegionEpoch, Store as StoreRecord, StoreLabel};
use crate::proto::pdpb::ErrorType;
use crate::proto::standinpb::raft_transport_server::RaftTransportServer;
use crate::proto::tikvpb::tikv_server::TikvServer;

/// Messages of clients: an entry of 8 MiB and what surrounds it.
const CLIENT_MESSAGE_BYTES: usize = 16 << 20;

/// The region log is rewritten at this size at the latest; `raft-engine.purge-threshold` may lower it.
const REWRITE_AFTER_BYTES: u64 = 16 << 20;

/// What a run needs all along.
struct Server {
    config: Config,
    file: Option<PathBuf>,
    version: Version,
    started: u32,
    pd: Pd,
    /// Set once clients are served.
    is_up: Arc<AtomicBool>,
}

/// Runs the server with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = std::env::args().skip(1);
    let flags = match Flags::parse(arguments) {
        Ok(flags) => flags,
        Err(reason) => return fail(&reason),
    };
    let from = |name: &str| std::env::var(name).ok();
    let version = Version::choose([
        flags.as_version.clone(),
        from("STANDIN_TIKV_VERSION"),
        from("STANDIN_VERSION"),
    ]);
    if flags.version {
        return say(&format!(
            "TiKV \nRelease Version:   {}\nEdition:           Stand-in for tests, not TiKV\nGit Commit Hash:   standin",
            version.bare()
        ));
    }
    let config = match configure(&flags) {
        Ok(config) => config,
        Err(reason) => return fail(&reason),
    };
    if flags.config_check {
        return if config.unknown.is_empty() {
            say("config check successful")
        } else {
            fail(&format!("unknown configuration options: {}", config.unknown.join(", ")))
        };
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(config, flags.config, version)),
        Err(error) => Err(error.to_string()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log::line(Level::Fatal, &reason);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout)]
fn say(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr)]
fn fail(reason: &str) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::FAILURE
}

fn configure(flags: &Flags) -> Result<Config, String> {
    let mut config = match &flags.config {
        None => Config::defaults()?,
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| Config::from_toml(&text))
            .map_err(|reason| {
                format!(
                    "invalid auto generated configuration file {}, err {reason}",
                    path.display()
                )
            })?,
    };
    flags.overlay(&mut config)?;
    config.complete()?;
    Ok(config)
}

async fn run(config: Config, file: Option<PathBuf>, version: Version) -> Result<(), String> {
    log::set_level(Level::parse(config.text("log.level")));
    let log_file = config.text("log.file.filename");
    if !log_file.is_empty() {
        log::to_file(log_file.as_ref()).map_err(|error| format!("{log_file}: {error}"))?;
    }
    log::line(Level::Info, &format!("stand-in for TiKV {version}: a test fixture, not TiKV"));
    for key in &config.unknown {
        log::line(Level::Warn, &format!("unknown configuration option {key} is ignored"));
    }
    let mut terminated = signal()?;
    let _address = lock_address(config.text("server.addr"))?;
    let pd = Pd::new(&config.list("pd.endpoints"));
    let is_up = Arc::new(AtomicBool::new(false));
    let started = process::unix_seconds();
    let server = Server { config, file, version, started, pd, is_up: Arc::clone(&is_up) };
    let mut ended = std::pin::pin!(server.serve());
    loop {
        tokio::select! {
            ended = &mut ended => return ended,
            _ = terminated.recv() => if !is_up.load(Ordering::Relaxed) {
                // Nothing to move away yet; afterwards `serve` honours the signal itself.
                return Ok(());
            },
        }
    }
}

fn signal() -> Result<tokio::signal::unix::Signal, String> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| error.to_string())
}

impl Server {
    /// Runs until SIGTERM was honoured.
    async fn serve(self) -> Result<(), String> {
        let cluster_id = self.pd.wait_for_cluster().await;
        let data_dir = PathBuf::from(self.config.text("storage.data-dir"));
        let files = IdentityFiles::new(&data_dir)?;
        let identity = self.identify(&files, cluster_id).await?;
        let record = self.record(identity.store_id);
        let first = self.first_region(&files, &record).await?;

        let (inbox, messages) = mpsc::channel();
        let (errand_sender, errand_receiver) = tokio::sync::mpsc::unbounded_channel();
        let rewrite_after =
            self.config.bytes("raft-engine.purge-threshold").min(REWRITE_AFTER_BYTES);
        let opened = DiskLog::open(&files.log_dir(), rewrite_after);
        let (log, records) = opened.map_err(|error| error.to_string())?;
        let mut store = Store::new(self.store_setup(identity.store_id, log, errand_sender));
        store.recover(records)?;
        if let Some(region) = first {
            store.begin(region)?;
            store.flush()?;
        }
        files.forget_first_region()?;
        self.register(&record).await?;

        let mut thread = run_thread(store, messages)?;
        let wire = Wire::new(self.pd.clone(), inbox.clone(), cluster_id);
        tokio::spawn(errands::run(errand_receiver, wire, self.pd.clone(), inbox.clone()));
        let (serving, serves) = watch::channel(false);
        let heartbeat = self.heartbeat(identity.store_id, data_dir);
        let (tombstone, stopping) =
            (Arc::clone(&heartbeat.tombstone), Arc::clone(&heartbeat.stopping));
        let is_stopping = Arc::clone(&heartbeat.is_stopping);
        let kv = KvService { store: inbox.clone(), store_id: identity.store_id, tombstone };
        self.listen(kv, cluster_id, &serves).await?;
        let config = Arc::new(Mutex::new(self.config.clone()));
        self.listen_status(Arc::clone(&config), &inbox, serves).await?;
        tokio::spawn(heartbeat.run(self.pd.clone(), inbox.clone()));
        let mut terminated = signal()?;
        self.is_up.store(true, Ordering::Relaxed);
        serving.send_replace(true);
        log::line(Level::Info, &format!("store {} serves", identity.store_id));

        tokio::select! {
            ended = &mut thread => return ended.unwrap_or_else(|_| Err("the store's thread panicked".to_owned())),
            _ = terminated.recv() => {}
        }
        is_stopping.store(self.version.evicts_when_stopping(), Ordering::Relaxed);
        stopping.notify_one();
        self.await_eviction(&config, &inbox).await;
        serving.send_replace(false);
        // The thread finishes its round, so nothing acknowledged is left unwritten.
        let _ = inbox.send(StoreMessage::Stop);
        thread.await.unwrap_or_else(|_| Err("the store's thread panicked".to_owned()))
    }

    /// Who this store is; a new one gets its id from PD.
    async fn identify(&self, files: &IdentityFiles, cluster_id: u64) -> Result<Identity, String> {
        if let Some(identity) = files.read(cluster_id)? {
            return Ok(identity);
        }
        let store_id = self.patiently("alloc id", || self.pd.alloc_id()).await?;
        let identity = Identity { cluster_id, store_id };
        files.write(identity)?;
        log::line(Level::Info, &format!("new store {store_id} of cluster {cluster_id}"));
        Ok(identity)
    }

    /// Waits while PD is unreachable; an answer that refuses is an error.
    async fn patiently<A, F>(&self, what: &str, call: impl Fn() -> F) -> Result<A, String>
    where
        F: Future<Output = Result<A, PdError>>,
    {
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(PdError::Refused(_, message)) => return Err(format!("{what}: {message}")),
                Err(error) => log::line(Level::Warn, &format!("{what}: {error}")),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    fn record(&self, store_id: u64) -> StoreRecord {
        let text = |key: &str| self.config.text(key).to_owned();
        let labels = self.config.get("server.labels").and_then(|labels| labels.as_object());
        let label = |(key, value): (&String, &serde_json::Value)| StoreLabel {
            key: key.clone(),
            value: value.as_str().unwrap_or_default().to_owned(),
        };
        StoreRecord {
            id: store_id,
            address: text("server.advertise-addr"),
            peer_address: text("server.advertise-addr"),
            status_address: text("server.advertise-status-addr"),
            labels: labels.into_iter().flatten().map(label).collect(),
            version: self.version.bare().to_owned(),
            git_hash: "standin".to_owned(),
            start_timestamp: self.started.into(),
            deploy_path: std::env::current_exe()
                .ok()
                .and_then(|path| path.parent().map(|dir| dir.display().to_string()))
                .unwrap_or_default(),
            ..StoreRecord::default()
        }
    }

    /// Starts the cluster if nobody did. Returns the first region when it is this store's to hold.
    /// Of several stores that try at once PD takes one; the others join.
    async fn first_region(
        &self,
        files: &IdentityFiles,
        record: &StoreRecord,
    ) -> Result<Option<Region>, String> {
        let kept = files.first_region()?;
        if self.patiently("is bootstrapped", || self.pd.is_bootstrapped()).await? {
            let Some(kept) = kept else { return Ok(None) };
            // This store tried before it crashed: was it the one?
            let known = self.patiently("first region", || self.pd.region(kept.id)).await;
            let ours = known
                .ok()
                .flatten()
                .is_some_and(|known| known.peers.iter().any(|peer| peer.store_id == record.id));
            return Ok(ours.then_some(kept));
        }
        let region = match kept {
            Some(region) => region,
            None => self.new_first_region(files, record.id).await?,
        };
        loop {
            match self.pd.bootstrap(record, &region).await {
                Ok(()) => return Ok(Some(region)),
                Err(PdError::Refused(ErrorType::AlreadyBootstrapped, _)) => {
                    let known = self.patiently("first region", || self.pd.region(region.id)).await;
                    // PD may have taken ours although the answer was lost.
                    let ours = known.ok().flatten().is_some();
                    return Ok(ours.then_some(region));
                }
                Err(PdError::Refused(_, message)) => return Err(format!("bootstrap: {message}")),
                Err(error) => log::line(Level::Warn, &format!("bootstrap: {error}")),
            }
        }
    }

    async fn new_first_region(
        &self,
        files: &IdentityFiles,
        store_id: u64,
    ) -> Result<Region, String> {
        let id = self.patiently("alloc id", || self.pd.alloc_id()).await?;
        let peer_id = self.patiently("alloc id", || self.pd.alloc_id()).await?;
        let region = Region {
            id,
            region_epoch: Some(RegionEpoch { conf_ver: 1, version: 1 }),
            peers: vec![Peer { id: peer_id, store_id, ..Peer::default() }],
            ..Region::default()
        };
        files.write_first_region(&region)?;
        Ok(region)
    }

    async fn register(&self, record: &StoreRecord) -> Result<(), String> {
        self.patiently("failed to start node: put store", || self.pd.put_store(record)).await
    }

    fn store_setup(
        &self,
        store_id: u64,
        log: DiskLog,
        errands: tokio::sync::mpsc::UnboundedSender<super::store::Errand>,
    ) -> StoreSetup {
        let ticks = |key: &str| usize::try_from(self.config.number(key)).unwrap_or(usize::MAX);
        StoreSetup {
            store_id,
            timing: RaftTiming {
                tick: self.config.duration("raftstore.raft-base-tick-interval"),
                heartbeat_ticks: ticks("raftstore.raft-heartbeat-ticks"),
                election_ticks: ticks("raftstore.raft-election-timeout-ticks"),
                entry_bytes: self.config.bytes("raftstore.raft-entry-max-size"),
            },
            report_every: self.config.duration("raftstore.pd-heartbeat-tick-interval"),
            down_after: self.config.duration("raftstore.max-peer-down-duration"),
            log,
            errands,
        }
    }

    fn heartbeat(&self, store_id: u64, data_dir: PathBuf) -> Heartbeat {
        Heartbeat {
            store_id,
            started: self.started,
            capacity: self.config.bytes("raftstore.capacity"),
            every: self.config.duration("raftstore.pd-store-heartbeat-tick-interval"),
            data_dir,
            tombstone: Arc::new(AtomicBool::new(false)),
            stopping: Arc::new(Notify::new()),
            is_stopping: Arc::new(AtomicBool::new(false)),
        }
    }

    async fn listen(
        &self,
        kv: KvService,
        cluster_id: u64,
        serves: &watch::Receiver<bool>,
    ) -> Result<(), String> {
        let address = self.config.text("server.addr");
        let listener = bind(address).await?;
        let receiving = Receiving { store: kv.store.clone(), cluster_id };
        let raft =
            RaftTransportServer::new(receiving).max_decoding_message_size(wire::MESSAGE_BYTES);
        let router = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(TikvServer::new(kv).max_decoding_message_size(CLIENT_MESSAGE_BYTES))
            .add_service(raft)
            .add_service(HealthServer::new(HealthService { serving: serves.clone() }));
        let ending = router.serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(async move {
            if let Err(error) = ending.await {
                log::line(Level::Error, &format!("client port: {error}"));
            }
        });
        Ok(())
    }

    async fn listen_status(
        &self,
        config: Arc<Mutex<Config>>,
        store: &StoreSender,
        serving: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let address = self.config.text("server.status-addr");
        if address.is_empty() {
            // Switched off, as the real one can be.
            return Ok(());
        }
        let listener = bind(address).await?;
        let status = StatusServer {
            config,
            file: self.file.clone(),
            store: store.clone(),
            version: self.version.clone(),
            started: self.started,
            serving,
        };
        tokio::spawn(status.serve(listener));
        Ok(())
    }

    /// Waits until PD, which the heartbeat has told, has moved all leaders away, or until the time is
    /// over: with a PD that does not (older than v8.5.5, another store stopping too) or with nobody to
    /// take them that is the whole `server.graceful-shutdown-timeout`.
    async fn await_eviction(&self, config: &Mutex<Config>, store: &StoreSender) {
        let timeout =
            config.lock().map(|config| config.duration("server.graceful-shutdown-timeout"));
        let deadline = Instant::now() + timeout.unwrap_or_default();
        while self.version.evicts_when_stopping() && Instant::now() < deadline {
            let (reply, inspection) = oneshot::channel();
            let _ = store.send(StoreMessage::Inspect(reply));
            if inspection.await.is_ok_and(|has| has.led() == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn bind(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("failed to bind {address}: {error}"))
}

/// Runs the store on a thread of its own; the handle answers when it ends.
fn run_thread(
    store: Store,
    messages: mpsc::Receiver<StoreMessage>,
) -> Result<tokio::task::JoinHandle<Result<(), String>>, String> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("raftstore".to_owned())
        .spawn(move || {
            let _ = ended.send(store.run(&messages));
        })
        .map_err(|error| error.to_string())?;
    Ok(tokio::spawn(async move {
        end.await.unwrap_or_else(|_| Err("the store's thread panicked".to_owned()))
    }))
}
