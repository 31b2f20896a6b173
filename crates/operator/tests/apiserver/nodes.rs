//! What does the operator know about nodes, with and without the permission?

use std::time::{Duration, Instant};

use kube::{
    Client, Config,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tikv_operator::{
    controller::Key,
    grants::{GRANTS, OWN_GRANTS},
    kubernetes::Kubernetes,
    lease::Fence,
    metrics::Metrics,
    observe::{Cache, Memory, Observer, Wake, Watches},
    pd::{Limits, PdClient, Transport},
    store::StoreClient,
    task::TaskCache,
};
use tikv_operator_core::world::NodeView;
use tokio::sync::mpsc;

use crate::{
    PATIENCE,
    operator::create_cluster,
    server::{api, apply, clusters, role, server},
};

/// An operator's eyes.
struct Eyes {
    cache: Cache,
    observer: Observer,
    wakes: mpsc::UnboundedReceiver<Wake>,
}

fn eyes(config: Config, namespace: &str) -> Eyes {
    let client = Client::try_from(config).unwrap();
    let (cache, metrics) = (Cache::new(), Metrics::new());
    let (send, wakes) = mpsc::unbounded_channel();
    let watches = Watches {
        client: client.clone(),
        scopes: vec![Some(namespace.to_owned())],
        selector: None,
        cache: cache.clone(),
        wakes: send,
        changes: mpsc::unbounded_channel().0,
        metrics: metrics.clone(),
    };
    watches.spawn();
    let transport = Transport::new(Limits::default(), None);
    let observer = Observer::new(
        Kubernetes::new(client, Fence::new(), metrics.clone()),
        cache.clone(),
        TaskCache::new(),
        PdClient::new(transport.clone(), metrics.clone()),
        StoreClient::new(transport, metrics),
    );
    Eyes { cache, observer, wakes }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A node, and a pod of the cluster `c` that is bound to it.
async fn node_with_pod(admin: &Client, namespace: &str, node: &str) {
    let body = json!({ "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": node, "labels": { "zone": "z1" } } });
    apply(admin, &body).await;
    create_cluster(admin, namespace, "c").await;
    let resource = clusters(admin, namespace).get("c").await.unwrap();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "c-tikv-0", "namespace": namespace,
            "labels": { "app.kubernetes.io/managed-by": "tikv-operator", "tikv.org/cluster": "c",
                "app.kubernetes.io/component": "tikv", "tikv.org/ordinal": "0" },
            "ownerReferences": [{ "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
                "name": "c", "uid": resource.metadata.uid, "controller": true }],
        },
        "spec": {
            "nodeName": node, "automountServiceAccountToken": false,
            "securityContext": { "runAsNonRoot": true, "runAsUser": 1000,
                "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{ "name": "tikv", "image": "x", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }],
        },
    });
    let pod = serde_json::from_value(pod).unwrap();
    api(admin, "", "Pod", namespace).create(&PostParams::default(), &pod).await.unwrap();
}

async fn patch(admin: &Client, node: &str, body: Value) {
    let nodes = api(admin, "", "Node", "");
    nodes.patch(node, &PatchParams::default(), &Patch::Merge(body)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordon_wakes_the_cluster_and_is_seen_from_the_cache_and_live() {
    let server = server().await;
    let namespace = server.namespace("nodes").await;
    let (admin, node) = (server.admin(), "nodes-n1");
    node_with_pod(&admin, &namespace, node).await;
    let mut eyes = eyes(server.operator().0, &namespace);
    let key = Key { namespace, name: "c".to_owned() };
    until("the node is watched", || eyes.cache.node(node).is_some()).await;
    until("the pod is watched", || !eyes.cache.parts(&key).is_empty()).await;
    until("the cluster is watched", || eyes.cache.resource(&key).is_some()).await;
    // The first lists wake too.
    while tokio::time::timeout(Duration::from_secs(2), eyes.wakes.recv()).await.is_ok() {}

    patch(&admin, node, json!({ "metadata": { "annotations": { "some": "heartbeat" } } })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(eyes.wakes.try_recv().is_err(), "nothing that matters changed");
    patch(&admin, node, json!({ "spec": { "unschedulable": true } })).await;
    let woken = tokio::time::timeout(PATIENCE, eyes.wakes.recv()).await;
    assert_eq!(woken.unwrap().unwrap(), Wake { key: key.clone(), edited: false });

    let mut memory = Memory::default();
    let cached = eyes.observer.cached(&key, &mut memory).await.unwrap().unwrap();
    let live = eyes.observer.live(&key, &mut memory).await.unwrap().unwrap();
    assert_eq!(cached.world.nodes, live.world.nodes);
    let NodeView::Known(facts) = &live.world.nodes[node] else { panic!("it exists") };
    assert!(facts.cordoned && !facts.ready);
    assert_eq!(facts.labels["zone"], "z1");

    let parameters = kube::api::DeleteParams::default();
    api(&admin, "", "Node", "").delete(node, &parameters).await.unwrap();
    let live = eyes.observer.live(&key, &mut memory).await.unwrap().unwrap();
    assert_eq!(live.world.nodes[node], NodeView::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_nodes_are_unknown_and_all_else_is_seen() {
    let server = server().await;
    let namespace = server.namespace("no-nodes").await;
    let (admin, node) = (server.admin(), "no-nodes-n1");
    node_with_pod(&admin, &namespace, node).await;
    let (mut config, user) = server.operator();
    let name = format!("{user}-without-nodes");
    apply(&admin, &role(&name, GRANTS, OWN_GRANTS)).await;
    apply(&admin, &json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io" }],
    }))
    .await;
    config.auth_info.token = Some("admin-token".to_owned().into());
    config.auth_info.impersonate = Some(name);
    let eyes = eyes(config, &namespace);
    let key = Key { namespace, name: "c".to_owned() };
    until("the pod is watched", || !eyes.cache.parts(&key).is_empty()).await;
    until("the cluster is watched", || eyes.cache.resource(&key).is_some()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!eyes.cache.watches_nodes());
    let mut memory = Memory::default();
    let cached = eyes.observer.cached(&key, &mut memory).await.unwrap().unwrap();
    let live = eyes.observer.live(&key, &mut memory).await.unwrap().unwrap();
    for look in [cached, live] {
        assert_eq!(look.world.pods.len(), 1);
        assert!(look.world.nodes.is_empty(), "unknown is not gone");
    }
}
