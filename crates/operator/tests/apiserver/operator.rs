//! An operator under test, in this process.

use std::time::{Duration, Instant};

use clap::Parser;
use kube::Client;
use serde_json::{Value, json};
use tikv_operator::{flags::Flags, run};
use tokio::{sync::watch, task::JoinHandle};

use crate::server::{apply, clusters};

/// A running operator; dropping it is a crash.
pub(crate) struct Operator {
    task: JoinHandle<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Operator {
    /// Starts one that looks after `namespace`, with its lease there under a name of its own.
    pub(crate) fn start(client: Client, namespace: &str, lease: &str, pd: &str) -> Self {
        let flags = flags(namespace, lease, pd);
        let (stop, stopped) = watch::channel(false);
        let access = run::Access { client, accounts: None };
        let task = tokio::spawn(async move { run::run(&flags, access, stopped).await });
        Self { task, stop }
    }

    /// Ends it as SIGTERM would. Returns how long that took.
    pub(crate) async fn end(mut self) -> Duration {
        let start = Instant::now();
        self.stop.send_replace(true);
        (&mut self.task).await.unwrap().unwrap();
        start.elapsed()
    }
}

/// Flags for one namespace.
pub(crate) fn flags(namespace: &str, lease: &str, pd: &str) -> Flags {
    let args = [
        "tikv-operator",
        "--listen=127.0.0.1:0",
        "--namespace",
        namespace,
        "--lease-namespace",
        namespace,
        "--lease",
        lease,
        "--pd-through",
        pd,
    ];
    Flags::try_parse_from(args).unwrap()
}

/// Creates a cluster of 3 PD members and 3 stores.
pub(crate) async fn create_cluster(admin: &Client, namespace: &str, name: &str) {
    apply(admin, &manifest(namespace, name)).await;
}

/// The manifest of a cluster of 3 PD members and 3 stores.
pub(crate) fn manifest(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "version": "v8.5.7" },
    })
}

/// Waits until `done` says so about the resource; fails after `limit` with its status.
pub(crate) async fn wait_for(
    admin: &Client,
    namespace: &str,
    name: &str,
    limit: Duration,
    done: impl Fn(&Value) -> bool,
) -> Value {
    let (api, start) = (clusters(admin, namespace), Instant::now());
    loop {
        let resource = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
        if done(&resource) {
            return resource;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {:#}", resource["status"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Is the condition `kind` at `status`?
pub(crate) fn has(resource: &Value, kind: &str, status: &str) -> bool {
    let conditions = resource.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == kind && c["status"] == status)
}
