//! What most tests here begin with: a namespace in which pods start, and a PD.

use std::sync::Arc;

use kube::{Client, Config, api::ListParams};
use serde_json::Value;

use crate::{
    PATIENCE,
    kubelet::Kubelet,
    operator::{Operator, has, wait_for},
    pd::Pd,
    server::{Server, api, server},
};

/// A namespace with a kubelet, and the PD of one cluster in it.
pub(crate) struct Stage {
    pub(crate) server: &'static Server,
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    pub(crate) pd: Pd,
    /// How the operator reaches the API server.
    pub(crate) config: Config,
    /// As whom, in the count of calls.
    pub(crate) user: String,
    _kubelet: Kubelet,
}

impl Stage {
    /// A namespace of this name; its PD serves `cluster`.
    pub(crate) async fn new(namespace: &str, cluster: &str) -> Self {
        let server = server().await;
        let namespace = server.namespace(namespace).await;
        let admin = server.admin();
        let pd = Pd::run(&admin, &namespace, cluster).await;
        let kubelet = Kubelet::run(&admin, &namespace, Arc::new(|_| true));
        let (config, user) = server.operator();
        Self { server, admin, namespace, pd, config, user, _kubelet: kubelet }
    }

    /// Starts an operator that looks after the namespace.
    pub(crate) fn operator(&self) -> Operator {
        let client = Client::try_from(self.config.clone()).unwrap();
        Operator::start(client, &self.namespace, "operator", &self.pd.address)
    }

    /// Waits until the cluster is Ready; its resource.
    pub(crate) async fn ready(&self, cluster: &str) -> Value {
        let ready = |resource: &Value| has(resource, "Ready", "True");
        wait_for(&self.admin, &self.namespace, cluster, PATIENCE, ready).await
    }

    /// Uids of the pods: equal ones are the same pods, not replaced ones.
    pub(crate) async fn pod_uids(&self) -> Vec<Option<String>> {
        let pods = api(&self.admin, "", "Pod", &self.namespace);
        let list = pods.list(&ListParams::default()).await.unwrap();
        list.into_iter().map(|pod| pod.metadata.uid).collect()
    }
}
