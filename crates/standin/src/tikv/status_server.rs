//! What does the store answer over HTTP? Liveness, metrics, its configuration, and changes to it
//! key by key: paths, codes and bodies as recorded from a real status port. TiKV answers refusals
//! as plain text.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use prometheus::TextEncoder;
use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use serde_json::{Map, Value, json};

use super::config::Config;
use super::online;
use super::store::{Inspection, StoreSender, inspect};
use super::version::Version;
use crate::log::{self, Level};
use crate::port::{Answer, Ask, bare, typed};
use crate::proto::metapb::Peer;

/// What the status port speaks of.
pub struct StatusServer {
    /// The configuration, which POST changes.
    pub config: Mutex<Config>,
    /// `--config`, which a persisted change is written to.
    pub file: Option<PathBuf>,
    /// The store's thread.
    pub store: StoreSender,
    /// Which TiKV this store is.
    pub version: Version,
    /// Unix seconds.
    pub started: u32,
    /// True from registration to shutdown.
    pub serving: AtomicBool,
}

/// Size of the filesystem that holds `path` and what is free of it, in bytes; zeros when it does
/// not say.
pub fn disk_space(path: &Path) -> (u64, u64) {
    let stat = rustix::fs::statvfs(path);
    stat.map_or((0, 0), |stat| (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

/// Answers one request.
pub async fn answer(server: Arc<StatusServer>, ask: Ask) -> Answer {
    let not_found = || bare(StatusCode::NOT_FOUND, "path not found");
    match (ask.method.as_str(), ask.route(0).as_slice()) {
        ("GET", ["status"]) => bare(StatusCode::OK, ""),
        ("GET", ["metrics"]) => {
            let text = server.metrics(&inspect(&server.store).await.unwrap_or_default());
            typed(StatusCode::OK, "text/plain; version=0.0.4", text)
        }
        ("GET", ["config"]) => {
            let shown = server.config.lock().map(|config| config.shown().to_string());
            typed(StatusCode::OK, "application/json", shown.unwrap_or_default())
        }
        ("POST", ["config"]) => match server.change(&ask) {
            Ok(()) => bare(StatusCode::OK, ""),
            Err(reason) => bare(StatusCode::INTERNAL_SERVER_ERROR, reason),
        },
        ("PUT", ["config", "reload"]) => {
            // As seen on a real one: the call ends the process. Whoever relies on it must notice.
            log::line(Level::Fatal, "config reload aborts this process, as a real one did");
            std::process::abort()
        }
        ("GET", ["engine_type"]) => typed(StatusCode::OK, "text/plain", "raft-kv"),
        ("GET", ["ready"]) if server.version.has_ready() => server.ready(&ask),
        ("GET", ["region", id]) => region(id, &inspect(&server.store).await.unwrap_or_default()),
        _ => not_found(),
    }
}

/// GET `/region/{id}`.
fn region(id: &str, has: &Inspection) -> Answer {
    let Ok(id) = id.parse::<u64>() else {
        return bare(StatusCode::BAD_REQUEST, "failed to parse region id");
    };
    let Some((region, leads, term, applied)) = has.regions.iter().find(|r| r.0.id == id) else {
        return bare(StatusCode::NOT_FOUND, format!("region({id}) not found"));
    };
    let epoch = region.region_epoch.unwrap_or_default();
    let peer = |peer: &Peer| json!({"id": peer.id, "store_id": peer.store_id, "role": peer.role().as_str_name()});
    let body = json!({
        "id": id,
        "raft_status": {
            "soft_state": {"raft_state": if *leads { "Leader" } else { "Follower" }},
            "hard_state": {"term": term},
            "applied": applied,
        },
        "region_state": {
            "id": id,
            "start_key": region.start_key,
            "end_key": region.end_key,
            "region_epoch": {"conf_ver": epoch.conf_ver, "version": epoch.version},
            "peers": region.peers.iter().map(peer).collect::<Vec<_>>(),
        },
    });
    typed(StatusCode::OK, "application/json", body.to_string())
}

impl StatusServer {
    fn metrics(&self, has: &Inspection) -> String {
        let data_dir = self.config.lock().map(|config| config.text("storage.data-dir").to_owned());
        let (capacity, available) = disk_space(data_dir.unwrap_or_default().as_ref());
        let process = ProcessCollector::for_self().collect();
        format!(
            "{process}\
             # HELP tikv_raftstore_region_count Number of regions collected in region_collector\n\
             # TYPE tikv_raftstore_region_count gauge\n\
             tikv_raftstore_region_count{{type=\"buckets\"}} {led}\n\
             tikv_raftstore_region_count{{type=\"leader\"}} {led}\n\
             tikv_raftstore_region_count{{type=\"region\"}} {regions}\n\
             # HELP tikv_server_info Indicate the tikv server info, and the value is the server startup timestamp(s).\n\
             # TYPE tikv_server_info gauge\n\
             tikv_server_info{{hash=\"standin\",version=\"{version}\"}} {started}\n\
             # HELP tikv_store_size_bytes Size of storage.\n\
             # TYPE tikv_store_size_bytes gauge\n\
             tikv_store_size_bytes{{type=\"available\"}} {available}\n\
             tikv_store_size_bytes{{type=\"capacity\"}} {capacity}\n\
             tikv_store_size_bytes{{type=\"import_size\"}} 0\n\
             tikv_store_size_bytes{{type=\"kv_size\"}} {kv}\n\
             tikv_store_size_bytes{{type=\"raft_size\"}} {log}\n\
             tikv_store_size_bytes{{type=\"snap_size\"}} 0\n\
             tikv_store_size_bytes{{type=\"used\"}} {used}\n",
            process = TextEncoder::new().encode_to_string(&process).unwrap_or_default(),
            led = has.led(),
            regions = has.regions.len(),
            version = self.version,
            started = self.started,
            kv = has.kv_bytes,
            log = has.log_bytes,
            used = has.kv_bytes + has.log_bytes,
        )
    }

    fn ready(&self, ask: &Ask) -> Answer {
        let serving = self.serving.load(Ordering::Relaxed);
        let status = if serving { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
        if ask.parameter("verbose").is_none() {
            return bare(status, "");
        }
        let verbose = json!({"connected_to_pd": serving, "raft_peers_caught_up": serving});
        bare(status, format!("{verbose:#}"))
    }

    /// POST `/config`.
    fn change(&self, ask: &Ask) -> Result<(), String> {
        let wanted = ask.object().map_err(|error| format!("failed to decode, error: {error:?}"))?;
        let failed = |reason: String| format!("failed to update, error: {reason:?}");
        let mut config = self.config.lock().map_err(|error| failed(error.to_string()))?;
        online::change(&mut config, &wanted).map_err(failed)?;
        log::set_level(config.text("log.level"));
        if ask.parameter("persist") == Some("false") {
            return Ok(());
        }
        self.persist(&wanted).map_err(|reason| {
            failed(format!("config changed, but failed to persist to file due to {reason}"))
        })
    }

    /// Writes changed keys to the file, if there is one.
    fn persist(&self, changes: &Map<String, Value>) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        let mut table: toml::Table = toml::from_str(&text).map_err(|error| error.to_string())?;
        for (path, value) in changes {
            let value = toml::Value::try_from(value).map_err(|error| error.to_string())?;
            set_toml(&mut table, path, value);
        }
        std::fs::write(file, table.to_string()).map_err(|error| error.to_string())
    }
}

fn set_toml(table: &mut toml::Table, path: &str, value: toml::Value) {
    let Some((section, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return;
    };
    let inner = table.entry(section.to_owned()).or_insert_with(|| toml::Table::new().into());
    if let toml::Value::Table(inner) = inner {
        set_toml(inner, rest, value);
    }
}
