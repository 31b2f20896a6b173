//! What does the store answer over HTTP? Liveness, metrics, its configuration, and changes to it
//! key by key: paths, codes and bodies as recorded from a real status port. TiKV answers refusals
//! as plain text.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::config::Config;
use super::disk_space;
use super::log::{self, Level};
use super::online;
use super::process;
use super::store::{Inspection, StoreMessage, StoreSender};
use super::version::Version;

/// Larger bodies are refused.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What the status port speaks of.
#[derive(Clone)]
pub struct StatusServer {
    /// The configuration, which POST changes.
    pub config: Arc<Mutex<Config>>,
    /// `--config`, which a persisted change is written to.
    pub file: Option<PathBuf>,
    /// The store's thread.
    pub store: StoreSender,
    /// Which TiKV this store is.
    pub version: Version,
    /// Unix seconds.
    pub started: u32,
    /// True from registration to shutdown.
    pub serving: watch::Receiver<bool>,
}

type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, kind: Option<&'static str>, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    if let Some(kind) = kind {
        let kind = hyper::header::HeaderValue::from_static(kind);
        answer.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    }
    answer
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, None, body)
}

impl StatusServer {
    /// Serves until the process ends.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let server = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, std::convert::Infallible>(server.route(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                // A client that hangs up is its own affair.
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/status") => plain(StatusCode::OK, ""),
            (&Method::GET, "/metrics") => {
                let kind = Some("text/plain; version=0.0.4");
                answer(StatusCode::OK, kind, self.metrics().await)
            }
            (&Method::GET, "/config") => {
                let shown = self.config.lock().map(|config| config.shown().to_string());
                answer(StatusCode::OK, Some("application/json"), shown.unwrap_or_default())
            }
            (&Method::POST, "/config") => self.change(request, &query).await,
            (&Method::PUT, "/config/reload") => {
                // As seen on a real one: the call ends the process. Whoever relies on it must notice.
                log::line(Level::Fatal, "config reload aborts this process, as a real one did");
                std::process::abort()
            }
            (&Method::GET, "/engine_type") => answer(StatusCode::OK, Some("text/plain"), "raft-kv"),
            (&Method::GET, "/ready") if self.version.has_ready() => self.ready(&query),
            (&Method::GET, path) if path.starts_with("/region/") => self.region(path).await,
            (_, _) => plain(StatusCode::NOT_FOUND, "path not found"),
        }
    }

    async fn inspect(&self) -> Inspection {
        let (reply, inspection) = oneshot::channel();
        // A thread that has ended leaves the question unanswered.
        let _ = self.store.send(StoreMessage::Inspect(reply));
        inspection.await.unwrap_or_default()
    }

    async fn metrics(&self) -> String {
        let has = self.inspect().await;
        let regions = has.regions.len();
        let led = has.led();
        let data_dir = self.config.lock().map(|config| config.text("storage.data-dir").to_owned());
        let (capacity, available) = disk_space::of(data_dir.unwrap_or_default().as_ref());
        let used = has.kv_bytes + has.log_bytes;
        let (version, started) = (&self.version, self.started);
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
            process = process::metrics(started),
            kv = has.kv_bytes,
            log = has.log_bytes,
        )
    }

    fn ready(&self, query: &str) -> Answer {
        let serving = *self.serving.borrow();
        let status = if serving { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
        if !query.split('&').any(|part| part.starts_with("verbose")) {
            return plain(status, "");
        }
        let verbose = json!({"connected_to_pd": serving, "raft_peers_caught_up": serving});
        plain(status, serde_json::to_string_pretty(&verbose).unwrap_or_default())
    }

    async fn region(&self, path: &str) -> Answer {
        let Some(id) = path.strip_prefix("/region/").and_then(|id| id.parse::<u64>().ok()) else {
            return plain(StatusCode::BAD_REQUEST, "failed to parse region id");
        };
        let has = self.inspect().await;
        let found = has.regions.into_iter().find(|(region, _, _, _)| region.id == id);
        let Some((region, leads, term, applied)) = found else {
            return plain(StatusCode::NOT_FOUND, format!("region({id}) not found"));
        };
        let epoch = region.region_epoch.unwrap_or_default();
        let peer = |peer: &crate::proto::metapb::Peer| json!({"id": peer.id, "store_id": peer.store_id, "role": peer.role().as_str_name()});
        let body = json!({
            "id": id,
            "raft_status": {
                "soft_state": {"raft_state": if leads { "Leader" } else { "Follower" }},
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
        answer(StatusCode::OK, Some("application/json"), body.to_string())
    }

    async fn change(&self, request: Request<Incoming>, query: &str) -> Answer {
        let failed = |reason: String| plain(StatusCode::INTERNAL_SERVER_ERROR, reason);
        let body = match Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return failed(error.to_string()),
        };
        let wanted: Map<String, Value> = match serde_json::from_slice(&body) {
            Ok(wanted) => wanted,
            Err(error) => return failed(format!("failed to decode, error: {error:?}")),
        };
        let outcome = match self.config.lock() {
            Ok(mut config) => online::change(&mut config, &wanted).map(|()| config.clone()),
            Err(_) => Err("the configuration is lost".to_owned()),
        };
        match outcome {
            Err(reason) => failed(format!("failed to update, error: {reason:?}")),
            Ok(config) => {
                log::set_level(Level::parse(config.text("log.level")));
                let persist = !query.split('&').any(|part| part == "persist=false");
                match persist.then(|| self.persist(&wanted)).flatten() {
                    Some(reason) => failed(format!(
                        "failed to update, error: \"config changed, but failed to persist to file due to {reason}\""
                    )),
                    None => plain(StatusCode::OK, ""),
                }
            }
        }
    }

    /// Writes changed keys to the file; the reason when it cannot.
    fn persist(&self, changes: &Map<String, Value>) -> Option<String> {
        let file = self.file.as_ref()?;
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
        let table = text.and_then(|text| {
            toml::from_str::<toml::Table>(&text).map_err(|error| error.to_string())
        });
        let written = table.and_then(|mut table| {
            for (path, value) in changes {
                let value = toml::Value::try_from(value).map_err(|error| error.to_string())?;
                set_toml(&mut table, path, value);
            }
            std::fs::write(file, table.to_string()).map_err(|error| error.to_string())
        });
        written.err()
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
