//! How are nodes emptied, and how are they broken?
//!
//! Cordons and evictions go through the API server, as `kubectl drain` does it. Only a lab can be
//! broken, by its own command.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tikv_operator_api::names::Component;

use crate::cluster::{Cluster, condition, text};
use crate::kube::{Kube, status_code, until};
use crate::scene::Scene;

/// Longest time for a node to come back.
const BACK: Duration = Duration::from_mins(4);
/// Longest time in which the lab's program may be missing.
const REBUILT: Duration = Duration::from_mins(1);

/// The lab under the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Lab(PathBuf);

impl Lab {
    /// The lab of this program.
    pub(crate) fn of(program: &Path) -> Self {
        Self(program.to_path_buf())
    }

    fn command(&self, words: &[&str]) -> Result<String> {
        let what = format!("start of {}", self.0.display());
        // A build beside the suite may be putting the program there anew.
        let output = until(&what, REBUILT, || {
            let output = Command::new(&self.0).arg("lab").args(words).output();
            Ok(output.map_err(|e| e.to_string()))
        })?;
        if !output.status.success() {
            bail!("lab {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Ends a node as a power cut does, until it is turned on or the answer is dropped.
    pub(crate) fn off(&self, node: &str) -> Result<Off<'_>> {
        // Made before the fault: what was done by half has an end too.
        let off = Off { lab: self, node: node.to_owned(), on: false };
        self.command(&["fault", "off", node])?;
        Ok(off)
    }

    /// Stops a node with all that runs on it where it stands, until the answer is dropped.
    pub(crate) fn freeze(&self, node: &str) -> Result<Frozen<'_>> {
        let frozen = Frozen { lab: self, node: node.to_owned() };
        self.command(&["fault", "freeze", node])?;
        Ok(frozen)
    }

    /// Loses these packets of a hundred between two addresses from now on, where `node` forwards them.
    pub(crate) fn lose(&self, node: &str, (from, to): (&str, &str), percent: u8) -> Result<()> {
        let percent = percent.to_string();
        self.command(&["lose", node, "--from", from, "--to", to, "--percent", &percent]).map(drop)
    }

    /// Holds back what is sent from one address to another from now on, where `node` forwards it.
    pub(crate) fn delay(&self, node: &str, (from, to): (&str, &str), by: Duration) -> Result<()> {
        let millis = by.as_millis().to_string();
        self.command(&["delay", node, "--from", from, "--to", to, "--millis", &millis]).map(drop)
    }

    /// Loses none and holds back none there any more; how many were late.
    pub(crate) fn deliver(&self, node: &str) -> Result<u64> {
        let said = self.command(&["fault", "deliver", node])?;
        let late =
            said.split_once(" packets were late").and_then(|(number, _)| number.parse().ok());
        late.with_context(|| format!("lab fault deliver says \"{said}\""))
    }

    /// Lets the file system of a volume on `node` take no writes until the answer is dropped: what is
    /// unmounted later has to be as it was made.
    pub(crate) fn read_only(&self, node: &str, path: &str) -> Result<ReadOnly<'_>> {
        let read_only = ReadOnly { lab: self, node: node.to_owned(), path: path.to_owned() };
        self.command(&["read-only", node, path])?;
        Ok(read_only)
    }

    /// Lets a store write only so often a second to its disk until the answer is dropped.
    pub(crate) fn slow_disk(
        &self,
        place: &Place,
        cluster: &Cluster,
        iops: u32,
    ) -> Result<SlowDisk<'_>> {
        let Place { pod, node } = place;
        let words = ["slow", node, &cluster.namespace, pod, "tikv", "--mount", "/var/lib/tikv"];
        let words = words.map(str::to_owned).to_vec();
        let slow = SlowDisk { lab: self, words };
        let iops = iops.to_string();
        let mut all: Vec<&str> = slow.words.iter().map(String::as_str).collect();
        all.extend(["--iops", &iops]);
        self.command(&all)?;
        Ok(slow)
    }

    /// Sends the operator's process a signal.
    pub(crate) fn signal(&self, signal: &str, pod: &Value) -> Result<()> {
        let field = |path: &str| text(pod, path).with_context(|| format!("a pod without {path}"));
        let (namespace, name) = (field("/metadata/namespace")?, field("/metadata/name")?);
        let words = ["kill", "--signal", signal, field("/spec/nodeName")?, namespace, name];
        self.command(&[&words[..], &[field("/spec/containers/0/name")?]].concat()).map(drop)
    }

    /// Kills the process of a container; the kubelet starts it again in the same pod.
    pub(crate) fn kill(&self, node: &str, (cluster, pod): (&Cluster, &str)) -> Result<()> {
        let container = if pod.contains("-pd-") { "pd" } else { "tikv" };
        self.command(&["kill", node, &cluster.namespace, pod, container]).map(drop)
    }
}

/// A node without power.
#[must_use = "dropped, it is on again"]
pub(crate) struct Off<'a> {
    lab: &'a Lab,
    node: String,
    on: bool,
}

impl Off<'_> {
    /// Starts it again, and waits until Kubernetes sees it.
    pub(crate) fn on(mut self, kube: &Kube) -> Result<()> {
        self.lab.command(&["fault", "on", &self.node])?;
        self.on = true;
        until(&format!("{} Ready", self.node), BACK, || {
            let object = kube.get(&path(&self.node))?;
            let ready = condition(&object, "Ready").and_then(|c| text(c, "/status"));
            Ok(if ready == Some("True") { Ok(()) } else { Err(format!("Ready is {ready:?}")) })
        })
    }
}

impl Drop for Off<'_> {
    fn drop(&mut self) {
        if !self.on
            && let Err(e) = self.lab.command(&["fault", "on", &self.node])
        {
            eprintln!("{} stays off: {e:#}", self.node);
        }
    }
}

/// A volume that takes no writes.
#[must_use = "dropped, it takes writes again"]
pub(crate) struct ReadOnly<'a> {
    lab: &'a Lab,
    node: String,
    path: String,
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.lab.command(&["read-only", &self.node, &self.path, "--end"]) {
            eprintln!("{} on {} stays read-only: {e:#}", self.path, self.node);
        }
    }
}

/// A store whose disk is slow.
#[must_use = "dropped, it has its pace again"]
pub(crate) struct SlowDisk<'a> {
    lab: &'a Lab,
    words: Vec<String>,
}

impl Drop for SlowDisk<'_> {
    fn drop(&mut self) {
        let mut words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        words.push("--end");
        if let Err(e) = self.lab.command(&words) {
            eprintln!("a disk stays slow: {e:#}");
        }
    }
}

/// A node that stands still.
#[must_use = "dropped, it runs again"]
pub(crate) struct Frozen<'a> {
    lab: &'a Lab,
    node: String,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.lab.command(&["fault", "thaw", &self.node]) {
            eprintln!("{} stays frozen: {e:#}", self.node);
        }
    }
}

fn path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

/// A node that takes no new pods until this is dropped.
pub(crate) struct Cordon<'a> {
    kube: &'a Kube,
    node: String,
}

impl<'a> Cordon<'a> {
    /// Cordons it.
    pub(crate) fn of(kube: &'a Kube, node: &str) -> Result<Self> {
        kube.merge(&path(node), &json!({ "spec": { "unschedulable": true } }))?;
        Ok(Self { kube, node: node.to_owned() })
    }
}

impl Drop for Cordon<'_> {
    fn drop(&mut self) {
        let open = json!({ "spec": { "unschedulable": null } });
        if let Err(e) = self.kube.merge(&path(&self.node), &open) {
            eprintln!("{} stays cordoned: {e:#}", self.node);
        }
    }
}

/// Asks for the eviction of a pod, as `kubectl drain` does. False: its disruption budget refuses.
pub(crate) fn evict(kube: &Kube, cluster: &Cluster, pod: &str) -> Result<bool> {
    let body = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": pod, "namespace": cluster.namespace },
    });
    match kube.create(&format!("{}/{pod}/eviction", cluster.core("pods")), &body) {
        Ok(_) => Ok(true),
        // Not there at this moment: nothing is left to evict.
        Err(e) if status_code(&e) == Some(404) => Ok(true),
        Err(e) if status_code(&e) == Some(429) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A store's pod and its node, on which are neither PD nor the operator, which are not what is
/// tried there.
pub(crate) fn store_apart(scene: &Scene, cluster: &Cluster) -> Result<(String, String)> {
    let mut spared = Vec::new();
    for pod in cluster.pods(Some(Component::Pd))?.values().chain(&scene.operator.pods()?) {
        spared.push(of_pod(pod)?);
    }
    let stores = cluster.pods(Some(Component::Tikv))?.into_iter();
    let mut stores = stores.filter_map(|(name, pod)| Some((name, of_pod(&pod).ok()?)));
    stores
        .find(|(_, node)| !spared.contains(node))
        .with_context(|| format!("each store shares its node with PD or the operator: {spared:?}"))
}

/// A store's pod and the node that it is on.
pub(crate) struct Place {
    pub(crate) pod: String,
    pub(crate) node: String,
}

impl Place {
    /// Where this store is now.
    pub(crate) fn of(cluster: &Cluster, pod: &str) -> Result<Self> {
        let pods = cluster.pods(Some(Component::Tikv))?;
        let node = of_pod(pods.get(pod).with_context(|| format!("no pod {pod}"))?)?;
        Ok(Self { pod: pod.to_owned(), node })
    }
}

/// The node on which a pod is.
pub(crate) fn of_pod(pod: &Value) -> Result<String> {
    Ok(text(pod, "/spec/nodeName").context("the pod is on no node")?.to_owned())
}
