//! Answers of a PD that knows as members and stores the pods that run in a namespace.
//!
//! Shapes are those of the recordings. A PD pod founds a cluster or joins one as the configuration
//! says that it mounts when it first starts: another token or other first members make another
//! cluster id. A cluster has a leader while a majority of its members runs, and never forgets a
//! member or a store. Stores lead one region each, unless they are evicted.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, Client, api::ListParams};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

#[derive(Default)]
struct State {
    /// Clusters that PD pods were told to found, by id.
    clusters: BTreeMap<u64, Cluster>,
    /// Which cluster's data a PD pod has, by its name.
    data: BTreeMap<String, u64>,
    running: BTreeSet<String>,
    stores: Vec<Store>,
    /// Ids of stores that are to lead nothing.
    evicted: BTreeSet<u64>,
    /// Name of the member that was made the leader.
    leader: Option<String>,
    calls: usize,
}

struct Store {
    pod: String,
    /// When its process started, in seconds since 1970.
    started: i64,
}

#[derive(Default)]
struct Cluster {
    /// Names: the first ones are listed from the start, as etcd does.
    members: BTreeSet<String>,
    /// A majority of the first members ran together.
    formed: bool,
}

pub(crate) struct Pd {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
    /// What follows a pod's name in a store's address.
    suffix: String,
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
        let serving = serve(listener, Arc::clone(&state), suffix.clone());
        let tasks = vec![tokio::spawn(following), tokio::spawn(serving)];
        Self { address, state, suffix, tasks }
    }

    /// These pods have the data of this cluster already.
    pub(crate) fn remembers(&self, id: u64, members: &[&str]) {
        let members: BTreeSet<String> = members.iter().map(|name| (*name).to_owned()).collect();
        let mut state = self.state.lock().unwrap();
        state.data.extend(members.iter().map(|name| (name.clone(), id)));
        state.clusters.insert(id, Cluster { members, formed: true });
    }

    /// Serves under another address of this machine as well; its port.
    pub(crate) async fn serve_at(&mut self, ip: std::net::IpAddr) -> u16 {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = serve(listener, Arc::clone(&self.state), self.suffix.clone());
        self.tasks.push(tokio::spawn(serving));
        port
    }

    /// Ids of all clusters that any PD pod was ever told to found; each exceeds 2^53.
    pub(crate) fn founded(&self) -> Vec<String> {
        self.state.lock().unwrap().clusters.keys().map(u64::to_string).collect()
    }

    /// Requests so far.
    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }
}

async fn follow(client: Client, namespace: String, cluster: String, state: Arc<Mutex<State>>) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let configs: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let (member, store) = (format!("{cluster}-pd-"), format!("{cluster}-tikv-"));
    loop {
        let list = pods.list(&ListParams::default()).await.unwrap();
        let runs =
            |pod: &Pod| pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"));
        let running: Vec<Pod> = list.into_iter().filter(runs).collect();
        for pod in &running {
            let name = pod.metadata.name.clone().unwrap();
            if name.starts_with(&store) {
                let started = pod.metadata.creation_timestamp.as_ref().unwrap().0.as_second();
                state.lock().unwrap().start_store(name, started);
            } else if name.starts_with(&member) && !state.lock().unwrap().data.contains_key(&name) {
                let config = mounted(&configs, pod).await;
                state.lock().unwrap().start(name, &config);
            }
        }
        state.lock().unwrap().run(running.into_iter().filter_map(|pod| pod.metadata.name));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The configuration file that a PD pod mounts.
async fn mounted(configs: &Api<ConfigMap>, pod: &Pod) -> String {
    let volumes = pod.spec.as_ref().unwrap().volumes.iter().flatten();
    let name = volumes.filter_map(|v| v.config_map.as_ref()).map(|c| c.name.as_str()).next();
    let config = configs.get_opt(name.unwrap()).await.unwrap();
    let data = config.and_then(|config| config.data).unwrap_or_default();
    data.get("pd.toml").cloned().unwrap_or_default()
}

/// What a TOML file says about a key that stands by itself.
fn said<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.strip_prefix(key)?.trim_start().strip_prefix('=');
    config.lines().find_map(of).map(|value| value.trim().trim_matches('"'))
}

impl State {
    fn start_store(&mut self, pod: String, started: i64) {
        match self.stores.iter_mut().find(|store| store.pod == pod) {
            Some(store) => store.started = started,
            None => self.stores.push(Store { pod, started }),
        }
    }

    /// A member without data starts.
    fn start(&mut self, name: String, config: &str) {
        if let Some(first) = said(config, "initial-cluster") {
            let mut hash = DefaultHasher::new();
            (first, said(config, "initial-cluster-token")).hash(&mut hash);
            let id = hash.finish() | 1 << 62;
            let members = first.split(',').filter_map(|member| member.split_once('='));
            let members = members.map(|(name, _)| name.to_owned()).collect();
            self.clusters.entry(id).or_insert(Cluster { members, formed: false });
            self.data.insert(name, id);
            return;
        }
        // A name that is listed already cannot join, and before a cluster formed there is none to
        // join: such a member tries again.
        if said(config, "join").is_some()
            && let Some((id, cluster)) = self.clusters.iter_mut().find(|(_, c)| c.formed)
            && cluster.members.insert(name.clone())
        {
            self.data.insert(name, *id);
        }
    }

    fn run(&mut self, running: impl Iterator<Item = String>) {
        self.running = running.collect();
        let leading: Vec<u64> =
            self.clusters.keys().copied().filter(|id| self.leads(*id)).collect();
        for id in leading {
            self.clusters.entry(id).and_modify(|cluster| cluster.formed = true);
        }
    }

    /// PD's leadership moves, or a store is evicted or no longer.
    fn change(&mut self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, String) {
        self.calls += 1;
        let path = path.strip_prefix("/pd/api/v1/").unwrap_or(path);
        let scheduler = "schedulers/evict-leader-scheduler-";
        if let Some(name) = path.strip_prefix("leader/transfer/") {
            self.leader = Some(name.to_owned());
        } else if path == "schedulers" {
            let body: Value = serde_json::from_slice(body).unwrap();
            self.evicted.extend(body["store_id"].as_u64());
        } else if let Some(id) = path.strip_prefix(scheduler).and_then(|id| id.parse().ok()) {
            self.evicted.remove(&id);
        } else {
            return (StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
        }
        assert!(method == Method::POST || method == Method::DELETE);
        (StatusCode::OK, "\"The operation is completed.\"\n".to_owned())
    }

    fn is_well(&self, id: u64, name: &str) -> bool {
        self.running.contains(name) && self.data.get(name) == Some(&id)
    }

    /// A majority of the members runs.
    fn leads(&self, id: u64) -> bool {
        let members = &self.clusters[&id].members;
        members.iter().filter(|name| self.is_well(id, name)).count() * 2 > members.len()
    }

    /// The cluster that answers.
    fn leading(&self) -> Option<(u64, &BTreeSet<String>)> {
        let mut clusters = self.clusters.iter();
        clusters.find(|(id, _)| self.leads(**id)).map(|(id, cluster)| (*id, &cluster.members))
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, suffix: String) {
    loop {
        let (stream, from) = listener.accept().await.unwrap();
        // No other machine has a business here, whatever address this one is served under.
        if !from.ip().is_loopback() && from.ip() != stream.local_addr().unwrap().ip() {
            continue;
        }
        let (state, suffix) = (Arc::clone(&state), suffix.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (state, suffix) = (Arc::clone(&state), suffix.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let (path, mut state) = (head.uri.path(), state.lock().unwrap());
                    let (status, body) = match head.method {
                        Method::GET => answer(&mut state, path, &suffix),
                        _ => state.change(&head.method, path, &body),
                    };
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status;
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(state: &mut State, path: &str, suffix: &str) -> (StatusCode, String) {
    state.calls += 1;
    let Some((cluster, names)) = state.leading() else {
        let text = "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    };
    let body = match path {
        // As PD writes it, which pipes to `sed` rely on.
        "/pd/api/v1/cluster" => {
            let text = format!("{{\n  \"id\": {cluster},\n  \"max_peer_count\": 3\n}}\n");
            return (StatusCode::OK, text);
        }
        "/pd/api/v1/members" => members(state, cluster, names),
        "/pd/api/v1/health" => health(state, cluster, names),
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
        path if path.starts_with("/pd/api/v1/regions/check/") => {
            json!({ "count": 0, "regions": [] })
        }
        "/pd/api/v1/scheduler-config/evict-leader-scheduler/list" if !state.evicted.is_empty() => {
            let ranges = state.evicted.iter().map(|id| (id.to_string(), json!([])));
            json!({ "store-id-ranges": ranges.collect::<Value>() })
        }
        "/pd/api/v1/regions" => json!({ "count": 1, "regions": [{ "peers": [{ "id": 2 }] }] }),
        _ => return (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
    };
    (StatusCode::OK, body.to_string())
}

fn id(index: usize) -> u64 {
    7_110_971_978_933_684_340 + index as u64
}

fn members(state: &State, cluster: u64, names: &BTreeSet<String>) -> Value {
    let rows: Vec<Value> = (0..)
        .zip(names)
        .map(|(index, name)| {
            json!({ "name": name, "member_id": id(index), "binary_version": "v8.5.7",
                "client_urls": [format!("http://{name}:2379")] })
        })
        .collect();
    let well = |row: &&Value| state.is_well(cluster, row["name"].as_str().unwrap());
    let chosen = rows.iter().find(|row| state.leader.as_deref() == row["name"].as_str());
    let leader = chosen.filter(well).or_else(|| rows.iter().find(well));
    json!({ "header": { "cluster_id": cluster }, "members": rows, "leader": leader })
}

fn health(state: &State, cluster: u64, names: &BTreeSet<String>) -> Value {
    let rows = (0..).zip(names).map(|(index, name)| {
        json!({ "name": name, "member_id": id(index), "health": state.is_well(cluster, name) })
    });
    rows.collect()
}

fn stores(state: &State, suffix: &str) -> Value {
    let rows: Vec<Value> = (1..)
        .zip(&state.stores)
        .map(|(id, store)| {
            let name = &store.pod;
            let up = if state.running.contains(name) { "Up" } else { "Disconnected" };
            let leaders = u32::from(!state.evicted.contains(&id));
            json!({
                "store": { "id": id, "address": format!("{name}.{suffix}"), "state_name": up,
                    "version": "8.5.7", "start_timestamp": store.started },
                "status": { "leader_count": leaders, "region_count": 1,
                    "last_heartbeat_ts": jiff::Timestamp::now().to_string() },
            })
        })
        .collect();
    json!({ "count": rows.len(), "stores": rows })
}
