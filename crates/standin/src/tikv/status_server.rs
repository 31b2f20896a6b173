//! What does the store answer over HTTP? Liveness, metrics, its configuration, and changes to it
//! key by key: paths, codes and bodies as recorded from a real status port. TiKV answers refusals
//! as plain text.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::StatusCode;
use prometheus::TextEncoder;
use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use serde_json::json;

use super::config;
use super::run::Server;
use super::store::{Inspection, StoreSender, inspect};
use crate::logs;
use crate::port::{Answer, Ask, bare, typed};
use crate::version::Feature;

/// Size of the filesystem that holds `path` and what is free of it, in bytes; zeros when it does
/// not say.
pub fn disk_space(path: &Path) -> (u64, u64) {
    let stat = rustix::fs::statvfs(path);
    stat.map_or((0, 0), |stat| (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

/// Answers one request.
pub async fn answer(server: Arc<Server>, store: StoreSender, ask: Ask) -> Answer {
    let version = server.version;
    match (ask.method.as_str(), ask.route(0).as_slice()) {
        ("GET", ["status"]) => bare(StatusCode::OK, ""),
        ("GET", ["metrics"]) => {
            let text = server.metrics(&inspect(&store).await.unwrap_or_default());
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
        ("PUT", ["config", "reload"]) if version.has(Feature::CONFIG_RELOAD) => {
            // As seen on a real one: the call ends the process. Whoever relies on it must notice.
            log::error!("config reload aborts this process, as a real one did");
            std::process::abort()
        }
        ("GET", ["engine_type"]) if version.has(Feature::ENGINE_TYPE) => {
            typed(StatusCode::OK, "text/plain", "raft-kv")
        }
        ("GET", ["ready"]) if version.has(Feature::STORE_READY) => server.ready(&ask),
        ("GET", ["region", id]) => region(id, &inspect(&store).await.unwrap_or_default()),
        _ => bare(StatusCode::NOT_FOUND, "path not found"),
    }
}

/// GET `/region/{id}`.
fn region(id: &str, has: &Inspection) -> Answer {
    let Ok(id) = id.parse::<u64>() else {
        return bare(StatusCode::BAD_REQUEST, "failed to parse region id");
    };
    let Some((storage, leads)) = has.regions.iter().find(|(storage, _)| storage.region.id == id)
    else {
        return bare(StatusCode::NOT_FOUND, format!("region({id}) not found"));
    };
    let body = json!({"id": id, "leads": leads, "region": storage.region, "state": storage.state});
    typed(StatusCode::OK, "application/json", body.to_string())
}

impl Server {
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
             tikv_server_info{{hash=\"standin\",version=\"v{version}\"}} {started}\n\
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
            version = self.version_text,
            started = self.started,
            kv = has.kv_bytes,
            log = has.disk_bytes.saturating_sub(has.kv_bytes),
            used = has.disk_bytes,
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

    /// POST `/config`. The file is never written, as if it were on a read-only volume: without
    /// `persist=false`, and before v7.4, the change is in effect and the answer a refusal all the same.
    fn change(&self, ask: &Ask) -> Result<(), String> {
        let wanted = ask.object().map_err(|error| format!("failed to decode, error: {error:?}"))?;
        let failed = |reason: String| format!("failed to update, error: {reason:?}");
        let mut current = self.config.lock().map_err(|error| failed(error.to_string()))?;
        config::change(&mut current, &wanted).map_err(failed)?;
        logs::set_level(current.text("log.level"));
        if ask.parameter("persist") == Some("false") && self.version.has(Feature::UNPERSISTED) {
            return Ok(());
        }
        let why = r#"Os { code: 30, kind: ReadOnlyFilesystem, message: "Read-only file system" }"#;
        Err(if self.version.has(Feature::CONFIG_RELOAD) {
            format!("config changed, but failed to persist change due to err: {why}")
        } else {
            format!("failed to update, error: {why}")
        })
    }
}
