//! Answers of a PD that knows as members and stores the pods that run in a namespace.
//!
//! Shapes are those of the recordings. A PD pod founds a cluster or joins one as the configuration
//! says that it mounts when it first starts: another token or other first members make another
//! cluster id. A cluster has a leader while a majority of its members runs, and never forgets a
//! member or a store.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
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
    stores: Vec<String>,
    calls: usize,
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
    let prefix = format!("{cluster}-pd-");
    loop {
        let list = pods.list(&ListParams::default()).await.unwrap();
        let runs =
            |pod: &Pod| pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"));
        let running: Vec<Pod> = list.into_iter().filter(runs).collect();
        for pod in &running {
            let name = pod.metadata.name.clone().unwrap();
            if !name.starts_with(&prefix) {
                let mut state = state.lock().unwrap();
                if !state.stores.contains(&name) {
                    state.stores.push(name);
                }
            } else if !state.lock().unwrap().data.contains_key(&name) {
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
    let Some((cluster, names)) = state.leading() else {
        let text = "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    };
    let body = match uri.path() {
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
    let leader = rows.iter().find(|row| state.is_well(cluster, row["name"].as_str().unwrap()));
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
