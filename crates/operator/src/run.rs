//! What runs in the operator's process, and how does it end?

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use http::{HeaderValue, header::USER_AGENT};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, Config};
use tokio::sync::{mpsc, watch};

use crate::{
    act::Hands,
    budget::{self, Budget},
    controller::{Controller, Pass, Publisher},
    flags::Flags,
    kubernetes::Kubernetes,
    lease::{Candidate, Election, Fence},
    metrics::Metrics,
    observe::{Cache, Observer, Scope, Watches},
    pd::{Limits, PdClient, Transport},
    serve::{self, Health},
    store::StoreClient,
    task::{Accounts, Clusters, Egress, TaskCache, Tasks, Worker},
};

/// Giving the lease back, after the calls in hand had their 5 s: together less than the 10 s that
/// the Deployment gives after SIGTERM.
const END_TIME: Duration = Duration::from_secs(3);

/// How to reach the API server, from the environment: in-cluster, or a kubeconfig.
pub async fn config() -> anyhow::Result<Config> {
    let mut config = Config::infer().await.context("no way to reach an API server")?;
    let agent = HeaderValue::from_static(concat!("tikv-operator/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(config)
}

/// Who the operator is, and how it reaches the API server as others.
pub struct Access {
    /// As itself.
    pub client: Client,
    /// How service accounts of tasks reach it; without it no task acts as one.
    pub accounts: Option<Config>,
}

impl Access {
    /// The access that this configuration gives.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let client = Client::try_from(config.clone())
            .context("the configuration for the API server cannot be used")?;
        Ok(Self { client, accounts: Some(config) })
    }
}

/// Runs the operator until `stop` turns true.
pub async fn run(flags: &Flags, access: Access, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let Access { client, accounts } = access;
    let identity = identity();
    let (metrics, health, fence) = (Metrics::new(), Health::new(), Fence::new());
    let candidate = candidate(flags, &client, &identity, &fence, &metrics)?;
    let leads = candidate.subscribe();
    let kubernetes = Kubernetes::new(client.clone(), fence, metrics.clone());
    let cache = Cache::new();
    let scopes = scopes(flags);
    let (wakes, woken) = mpsc::unbounded_channel();
    let tasks = Tasks::start(&client, &scopes, &metrics);
    let (task_cache, changes) = (tasks.cache.clone(), tasks.wakes.clone());
    Watches {
        client,
        scopes: scopes.clone(),
        selector: flags.selector.clone(),
        cache: cache.clone(),
        wakes,
        changes,
        metrics: metrics.clone(),
    }
    .spawn();
    let accounts = Accounts::new(kubernetes.clone(), accounts);
    let egress = Egress { allowed: flags.task_http_allow.clone() };
    let worker = Worker { kubernetes: kubernetes.clone(), accounts, egress };
    let clusters = Clusters {
        cache: cache.clone(),
        scopes: scopes.clone(),
        selected: flags.selector.is_some(),
    };
    let tasks = tasks.run(worker, clusters, leads.clone(), stop.clone());
    let controller = Controller {
        pass: Arc::new(pass(flags, kubernetes, cache.clone(), task_cache, identity)),
        cache,
        scopes,
        concurrency: usize::from(flags.concurrency),
        health: health.clone(),
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %flags.listen, "starting");
    let electing = tokio::spawn(candidate.run(stop.clone()));
    let acting = async { tokio::join!(controller.run(woken, leads, stop), tasks) };
    let serving = serve::serve(flags.listen, health, metrics);
    tokio::select! {
        served = serving => served.context("cannot serve /metrics")?,
        _ = acting => {}
    }
    // The candidate lets the writes in hand end before it gives the lease back.
    if let Ok(ended) = tokio::time::timeout(END_TIME, electing).await {
        ended.context("the election ended badly")?;
    } else {
        tracing::warn!("the lease was not given back in time");
    }
    tracing::info!("ended");
    Ok(())
}

/// What is done for one cluster.
fn pass(
    flags: &Flags,
    kubernetes: Kubernetes,
    cache: Cache,
    tasks: TaskCache,
    identity: String,
) -> Pass {
    let metrics = kubernetes.metrics().clone();
    let transport = Transport::new(Limits::default(), flags.pd_through.clone());
    let pd = PdClient::new(transport.clone(), metrics.clone());
    let stores = StoreClient::new(transport, metrics);
    Pass {
        observer: Observer::new(kubernetes.clone(), cache, tasks, pd.clone(), stores.clone()),
        publisher: Publisher::new(kubernetes.clone(), identity),
        hands: Hands { kubernetes, pd, stores, budget: budget(flags) },
    }
}

fn candidate(
    flags: &Flags,
    client: &Client,
    identity: &str,
    fence: &Fence,
    metrics: &Metrics,
) -> anyhow::Result<Candidate> {
    let api: Api<Lease> = match &flags.lease_namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::default_namespaced(client.clone()),
    };
    let election = Election::new(identity.to_owned(), flags.terms()?);
    Ok(Candidate::new(api, flags.lease.clone(), election, fence.clone(), metrics.clone()))
}

fn scopes(flags: &Flags) -> Vec<Scope> {
    if flags.namespaces.is_empty() {
        vec![None]
    } else {
        flags.namespaces.iter().cloned().map(Some).collect()
    }
}

fn budget(flags: &Flags) -> Budget {
    Budget::new(budget::Limits {
        per_cluster: flags.disruptions_per_cluster,
        overall: flags.disruptions,
    })
}

/// A name for this process that no other has, not even a later one of the same pod.
fn identity() -> String {
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "tikv-operator".to_owned());
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{host}_{}_{:x}", std::process::id(), start.as_nanos())
}
