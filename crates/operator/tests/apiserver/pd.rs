//! Answers of a PD that knows as members and stores the pods that run in a namespace.
//!
//! Shapes are those of the recordings. It has a leader while a majority of its members runs, and
//! never forgets a member or a store that it has seen.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The id that every cluster gets; exceeds 2^53.
pub(crate) const CLUSTER_ID: &str = "7711106130007928711";

#[derive(Default)]
struct State {
    members: BTreeSet<String>,
    running: BTreeSet<String>,
    stores: Vec<String>,
    calls: usize,
}

pub(crate) struct Pd {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Pd {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Pd {
    /// Serves the cluster called `cluster` in `namespace`.
    pub(crate) async fn run(client: &Client, namespace: &str, cluster: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let following =
            follow(client.clone(), namespace.to_owned(), cluster.to_owned(), Arc::clone(&state));
        let suffix = format!("{cluster}-tikv-peer.{namespace}.svc:20160");
        let serving = serve(listener, Arc::clone(&state), suffix);
        let tasks = vec![tokio::spawn(following), tokio::spawn(serving)];
        Self { address, state, tasks }
    }

    /// Requests so far.
    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }
}

async fn follow(client: Client, namespace: String, cluster: String, state: Arc<Mutex<State>>) {
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    loop {
        let list = pods.list(&ListParams::default()).await.unwrap();
        let running: BTreeSet<String> = list
            .into_iter()
            .filter(|pod| {
                pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"))
            })
            .filter_map(|pod| pod.metadata.name)
            .collect();
        {
            let mut state = state.lock().unwrap();
            for name in &running {
                if name.starts_with(&format!("{cluster}-pd-")) {
                    state.members.insert(name.clone());
                } else if !state.stores.contains(name) {
                    state.stores.push(name.clone());
                }
            }
            state.running = running;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, suffix: String) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, suffix) = (Arc::clone(&state), suffix.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (status, body) = answer(&mut state.lock().unwrap(), request.uri(), &suffix);
                let mut response = Response::new(Full::new(Bytes::from(body)));
                *response.status_mut() = status;
                async move { Ok::<_, Infallible>(response) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(state: &mut State, uri: &Uri, suffix: &str) -> (StatusCode, String) {
    state.calls += 1;
    let alive = state.members.iter().filter(|name| state.running.contains(*name)).count();
    // Three form it; a majority of what was ever seen keeps it going.
    if alive < 2 || alive * 2 <= state.members.len() {
        let text = "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    }
    let body = match uri.path() {
        "/pd/api/v1/members" => members(state),
        "/pd/api/v1/health" => health(state),
        "/pd/api/v1/config/replicate" => json!({ "max-replicas": 3, "location-labels": "" }),
        path if state.stores.is_empty() => {
            let text = "[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first";
            let of_scheduler = path.starts_with("/pd/api/v1/scheduler-config/");
            let status = if of_scheduler { 406 } else { 500 };
            return (StatusCode::from_u16(status).unwrap(), json!(text).to_string());
        }
        "/pd/api/v1/stores/check" => stores(state, suffix),
        "/pd/api/v1/regions/count" => json!({ "count": 1, "regions": null }),
        "/pd/api/v1/regions/replicated" if state.stores.len() >= 3 => json!("REPLICATED"),
        "/pd/api/v1/regions/replicated" => json!("INPROGRESS"),
        "/pd/api/v1/regions" => json!({ "count": 1, "regions": [{ "peers": [{ "id": 2 }] }] }),
        _ => return (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
    };
    (StatusCode::OK, body.to_string())
}

fn id(index: usize) -> u64 {
    7_110_971_978_933_684_340 + index as u64
}

fn members(state: &State) -> Value {
    let rows: Vec<Value> = (0..)
        .zip(&state.members)
        .map(|(index, name)| {
            json!({ "name": name, "member_id": id(index), "binary_version": "v8.5.7",
                "client_urls": [format!("http://{name}:2379")] })
        })
        .collect();
    let leader = rows.iter().find(|row| state.running.contains(row["name"].as_str().unwrap()));
    let cluster: u64 = CLUSTER_ID.parse().unwrap();
    json!({ "header": { "cluster_id": cluster }, "members": rows, "leader": leader })
}

fn health(state: &State) -> Value {
    let rows = (0..).zip(&state.members).map(|(index, name)| {
        json!({ "name": name, "member_id": id(index), "health": state.running.contains(name) })
    });
    rows.collect()
}

fn stores(state: &State, suffix: &str) -> Value {
    let rows: Vec<Value> = (1..)
        .zip(&state.stores)
        .map(|(id, name)| {
            let up = if state.running.contains(name) { "Up" } else { "Disconnected" };
            json!({
                "store": { "id": id, "address": format!("{name}.{suffix}"), "state_name": up,
                    "version": "8.5.7", "start_timestamp": 1_795_384_616 },
                "status": { "leader_count": 1, "region_count": 1,
                    "last_heartbeat_ts": jiff::Timestamp::now().to_string() },
            })
        })
        .collect();
    json!({ "count": rows.len(), "stores": rows })
}
