//! How is the operator killed, stopped and watched?

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cluster::{pod_ready, text};
use crate::kube::{Kube, until};

/// Longest time for the operator to come or go.
const LIMIT: Duration = Duration::from_mins(3);
/// The Lease that decides which of its replicas acts.
const LEASE: &str = "tikv-operator";

/// The operator's Deployment in the cluster under test.
#[derive(Clone)]
pub(crate) struct Operator {
    kube: Kube,
    namespace: String,
    name: String,
    selector: String,
    /// Its user name in the audit log.
    pub(crate) user: String,
}

impl Operator {
    /// Finds the one Deployment labelled as the operator.
    pub(crate) fn find(kube: &Kube) -> Result<Self> {
        let path = "/apis/apps/v1/deployments?labelSelector=app.kubernetes.io/name=tikv-operator";
        let found = kube.list(path)?;
        let [deployment] = found.as_slice() else {
            bail!(
                "{} Deployments are labelled app.kubernetes.io/name=tikv-operator, not one",
                found.len()
            );
        };
        let field = |pointer: &str| {
            text(deployment, pointer).map(str::to_owned).with_context(|| format!("no {pointer}"))
        };
        let namespace = field("/metadata/namespace")?;
        let account = field("/spec/template/spec/serviceAccountName")?;
        let labels = deployment.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let selector = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect::<Vec<_>>()
            .join(",");
        Ok(Self {
            kube: kube.clone(),
            name: field("/metadata/name")?,
            user: format!("system:serviceaccount:{namespace}:{account}"),
            namespace,
            selector,
        })
    }

    /// Runs two of it, one of which stands by, until the answer is dropped.
    pub(crate) fn with_standby(&self) -> Result<OneAgain<'_>> {
        let pair = OneAgain(self);
        self.scale(2)?;
        self.wait_pair()?;
        Ok(pair)
    }

    /// Stops it until the answer is dropped.
    pub(crate) fn stopped(&self) -> Result<OneAgain<'_>> {
        let none = OneAgain(self);
        self.stop()?;
        Ok(none)
    }

    /// Waits until two of it are ready.
    pub(crate) fn wait_pair(&self) -> Result<()> {
        until("two operators ready", LIMIT, || {
            let ready = self.pods()?.iter().filter(|pod| pod_ready(pod)).count();
            Ok(if ready == 2 { Ok(()) } else { Err(format!("{ready} ready")) })
        })
    }

    /// What the Lease says of its holder; empty while it is free.
    pub(crate) fn holder(&self) -> Result<String> {
        let lease = self.kube.get(&self.lease())?;
        Ok(text(&lease, "/spec/holderIdentity").unwrap_or_default().to_owned())
    }

    /// Writes the Lease as if this one had just taken it for so long: a sabotage.
    pub(crate) fn lend(&self, holder: &str, time: Duration) -> Result<()> {
        let spec = json!({ "holderIdentity": holder, "leaseDurationSeconds": time.as_secs() });
        self.kube.merge(&self.lease(), &json!({ "spec": spec })).map(drop)
    }

    fn lease(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{LEASE}", self.namespace)
    }

    /// The pod that acts.
    pub(crate) fn leader(&self) -> Result<Value> {
        until("an operator that holds the Lease", LIMIT, || {
            let holder = self.holder()?;
            let pods = self.pods()?;
            // The identity is the pod's name and what tells its processes apart.
            let held =
                |pod: &Value| text(pod, "/metadata/name").is_some_and(|n| held_by(&holder, n));
            Ok(pods.into_iter().find(held).ok_or_else(|| format!("it is held by \"{holder}\"")))
        })
    }

    /// Its pods.
    pub(crate) fn pods(&self) -> Result<Vec<Value>> {
        self.kube.list(&format!(
            "/api/v1/namespaces/{}/pods?labelSelector={}",
            self.namespace, self.selector
        ))
    }

    /// Deletes its pods at once; its process is told to end, and the Deployment starts a new pod.
    pub(crate) fn delete_now(&self) -> Result<()> {
        for pod in self.pods()? {
            let name = text(&pod, "/metadata/name").context("a pod without a name")?;
            let path = format!("/api/v1/namespaces/{}/pods/{name}", self.namespace);
            self.kube.delete(&path, Some(0))?;
        }
        Ok(())
    }

    /// Stops it, and waits until no process of it is left.
    pub(crate) fn stop(&self) -> Result<()> {
        self.scale(0)?;
        until("operator gone", LIMIT, || {
            let left = self.pods()?.len();
            Ok(if left == 0 { Ok(()) } else { Err(format!("{left} pods left")) })
        })
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(&self) -> Result<()> {
        self.scale(1)?;
        self.wait_ready()
    }

    /// Waits until there is one pod of it, and that is ready.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        until("one operator, ready", LIMIT, || {
            let pods = self.pods()?;
            Ok(if pods.len() == 1 && pods.iter().all(pod_ready) {
                Ok(())
            } else {
                Err(format!("{} pods", pods.len()))
            })
        })
    }

    /// Times that its containers were restarted: a panic shows here.
    pub(crate) fn restarts(&self) -> Result<u64> {
        let pods = self.pods()?;
        Ok(pods
            .iter()
            .filter_map(|p| p.pointer("/status/containerStatuses")?.as_array())
            .flatten()
            .filter_map(|s| s.get("restartCount")?.as_u64())
            .sum())
    }

    /// The last lines of its log.
    pub(crate) fn log(&self, lines: u32) -> Result<String> {
        let mut all = String::new();
        for pod in self.pods()? {
            let name = text(&pod, "/metadata/name").unwrap_or_default();
            let path =
                format!("/api/v1/namespaces/{}/pods/{name}/log?tailLines={lines}", self.namespace);
            all.push_str(&self.kube.text(&path).unwrap_or_else(|e| format!("no log: {e:#}\n")));
        }
        Ok(all)
    }

    fn scale(&self, replicas: u32) -> Result<()> {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/{}", self.namespace, self.name);
        self.kube.merge(&path, &json!({ "spec": { "replicas": replicas } })).map(drop)
    }
}

fn held_by(holder: &str, pod: &str) -> bool {
    holder.strip_prefix(pod).is_some_and(|rest| rest.starts_with('_'))
}

/// Two operators or none, and one again afterwards.
#[must_use = "dropped, there is one operator again"]
pub(crate) struct OneAgain<'a>(&'a Operator);

impl Drop for OneAgain<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.0.start() {
            eprintln!("there is not one operator again: {e:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_a_process_of_a_pod() {
        assert!(held_by("tikv-operator-5d-x_1_18f", "tikv-operator-5d-x"));
        assert!(!held_by("tikv-operator-5d-xy_1_18f", "tikv-operator-5d-x"));
        assert!(!held_by("", "tikv-operator-5d-x"));
    }
}
