//! A resource on the API server, and hands that do steps beside it.

use std::sync::Arc;

use kube::{Client, api::PostParams};
use serde_json::{Value, json};
use tikv_operator::{
    act::{Acted, FINALIZER, Hands},
    budget::{Budget, Limits},
    controller::Key,
    kubernetes::Kubernetes,
    lease::Fence,
    metrics::Metrics,
    observe::Look,
    pd::{self, PdClient, Transport},
    store::StoreClient,
};
use tikv_operator_core::{
    facts::resource_facts,
    plan::Step,
    report::FailureKind,
    world::{Kind, Object, ObjectKey, Uid, World},
};

use crate::{
    operator::manifest,
    server::{api, clusters, server},
};

/// A cluster in a namespace of its own.
pub(crate) struct Bench {
    pub(crate) admin: Client,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) namespace: String,
    pub(crate) look: Look,
}

/// A uid that nothing has.
pub(crate) const OTHER: &str = "00000000-0000-0000-0000-000000000000";

impl Bench {
    pub(crate) async fn new(namespace: &str) -> Self {
        let server = server().await;
        let namespace = server.namespace(namespace).await;
        let admin = server.admin();
        let body = serde_json::from_value(manifest(&namespace, "c")).unwrap();
        clusters(&admin, &namespace).create(&PostParams::default(), &body).await.unwrap();
        let client = Client::try_from(server.operator().0).unwrap();
        let fence = Fence::new();
        fence.open(tokio::time::Instant::now() + std::time::Duration::from_mins(10));
        let kubernetes = Kubernetes::new(client, fence, Metrics::new());
        let look = look(&admin, &namespace).await;
        Self { admin, kubernetes, namespace, look }
    }

    pub(crate) async fn act(&self, steps: &[Step]) -> Acted {
        let transport = Transport::new(pd::Limits::default(), None);
        let hands = Hands {
            kubernetes: self.kubernetes.clone(),
            pd: PdClient::new(transport.clone(), Metrics::new()),
            stores: StoreClient::new(transport, Metrics::new()),
            budget: Budget::new(Limits { per_cluster: 100, overall: 100 }),
        };
        hands.act(&self.look, steps).await
    }

    /// How the only step ended.
    pub(crate) async fn one(&self, step: Step) -> Result<(), FailureKind> {
        let acted = self.act(&[step]).await;
        let outcome = acted.outcomes.into_iter().next().unwrap();
        println!("{:?}", outcome.result);
        outcome.result.map_err(|failure| failure.kind)
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let object = api(&self.admin, "", kind, &self.namespace).get_opt(name).await.unwrap();
        object.map(|object| serde_json::to_value(object).unwrap())
    }

    pub(crate) async fn cluster(&self) -> Value {
        serde_json::to_value(clusters(&self.admin, &self.namespace).get("c").await.unwrap())
            .unwrap()
    }

    pub(crate) fn object(&self, kind: Kind, name: &str, more: &Value) -> Object {
        let mut body = json!({
            "apiVersion": "v1", "kind": kind.as_str(),
            "metadata": {
                "name": name, "namespace": self.namespace,
                "labels": {
                    "app.kubernetes.io/managed-by": "tikv-operator", "tikv.org/cluster": "c",
                    "app.kubernetes.io/component": "pd", "tikv.org/ordinal": "0",
                },
            },
        });
        if kind != Kind::PersistentVolumeClaim {
            body["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster", "name": "c",
                "uid": self.look.world.resource.uid, "controller": true, "blockOwnerDeletion": true,
            }]);
        }
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Object { key: ObjectKey::new(kind, name), body }
    }

    pub(crate) fn map(&self, data: &Value) -> Object {
        self.object(Kind::ConfigMap, "c-map", &json!({ "data": data }))
    }

    pub(crate) fn pod(&self) -> Object {
        self.object(
            Kind::Pod,
            "c-pd-0",
            &json!({ "spec": {
            "automountServiceAccountToken": false,
            "readinessGates": [{ "conditionType": "tikv.org/store-up" }],
            "securityContext": { "runAsNonRoot": true, "runAsUser": 1000,
                "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{ "name": "pd", "image": "x", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }],
        } }),
        )
    }

    pub(crate) fn claim(&self) -> Object {
        self.object(
            Kind::PersistentVolumeClaim,
            "pd-c-pd-0",
            &json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        } }),
        )
    }

    pub(crate) async fn uid(&self, kind: &str, name: &str) -> Uid {
        let object = self.get(kind, name).await.unwrap();
        Uid(object["metadata"]["uid"].as_str().unwrap().to_owned())
    }
}

pub(crate) async fn look(admin: &Client, namespace: &str) -> Look {
    let resource = clusters(admin, namespace).get("c").await.unwrap();
    let resource = serde_json::to_value(resource).unwrap();
    let world = World::bare(jiff::Timestamp::now(), resource_facts(&resource, FINALIZER).unwrap());
    let key = Key { namespace: namespace.to_owned(), name: "c".to_owned() };
    Look { key, resource: Arc::new(resource), world, pd: Vec::new() }
}
