//! Does a real client get its keys back?
//!
//! A pod with the published `tikv-client` writes keys of a known form, another reads them back.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, text};
use crate::kube::{Kube, until};
use crate::manifest;

/// Longest time for one run of the client, its start included.
const LIMIT: Duration = Duration::from_mins(4);

/// Runs the test client in pods beside the cluster.
pub(crate) struct Client<'a> {
    kube: &'a Kube,
    image: &'a str,
}

impl<'a> Client<'a> {
    /// The client in this image.
    pub(crate) fn new(kube: &'a Kube, image: &'a str) -> Self {
        Self { kube, image }
    }

    /// Writes `count` keys; every write must be acknowledged.
    pub(crate) fn write(&self, cluster: &Cluster, prefix: &str, count: u32) -> Result<()> {
        let log = self.run(cluster, "write", prefix, count)?;
        ensure!(
            log.contains(&format!("wrote {count} keys")),
            "unexpected answer of the client: {log}"
        );
        Ok(())
    }

    /// Reads the same keys back; every one must have its value.
    pub(crate) fn verify(&self, cluster: &Cluster, prefix: &str, count: u32) -> Result<()> {
        let log = self.run(cluster, "verify", prefix, count)?;
        ensure!(
            log.contains(&format!("verified {count} keys")),
            "unexpected answer of the client: {log}"
        );
        Ok(())
    }

    /// Whether a client that begins now gets a key written within seconds.
    pub(crate) fn is_reached(&self, cluster: &Cluster) -> Result<bool> {
        let name = format!("client-reach-{}", cluster.name);
        let pd = format!("--pd={}", cluster.pd_address());
        let args = ["write", &pd, "--prefix=reach", "--count=1", "--patience=10"];
        let pod = hardened(self.image, &name, &args.map(str::to_owned), None);
        Ok(self.ended(cluster, &name, &pod)?.0)
    }

    /// Fills a volume to its last byte, from a pod on the node where it is.
    pub(crate) fn occupy(&self, cluster: &Cluster, claim: &str, node: &str) -> Result<String> {
        let name = format!("client-occupy-{claim}");
        let args = ["occupy".to_owned(), "--file=/volume/ballast".to_owned()];
        let source = json!({ "persistentVolumeClaim": { "claimName": claim } });
        let mut pod = hardened(self.image, &name, &args, Some((source, "/volume")));
        manifest::set(&mut pod, "/spec/nodeName", json!(node));
        self.finish(cluster, &name, &pod)
    }

    fn run(&self, cluster: &Cluster, verb: &str, prefix: &str, count: u32) -> Result<String> {
        let name = format!("client-{verb}-{}-{prefix}", cluster.name.get(..1).unwrap_or("x"));
        let args = [
            verb.to_owned(),
            format!("--pd={}", cluster.pd_address()),
            format!("--prefix={prefix}"),
            format!("--count={count}"),
        ];
        self.finish(cluster, &name, &hardened(self.image, &name, &args, None))
    }

    /// Runs the pod to its end, which has to be a good one; its log.
    pub(crate) fn finish(&self, cluster: &Cluster, name: &str, pod: &Value) -> Result<String> {
        let (well, log) = self.ended(cluster, name, pod)?;
        if !well {
            bail!("{name} failed: {log}");
        }
        Ok(log)
    }

    /// Runs the pod to its end: whether that was a good one, and its log.
    fn ended(&self, cluster: &Cluster, name: &str, pod: &Value) -> Result<(bool, String)> {
        let pods = cluster.core("pods");
        let path = format!("{pods}/{name}");
        self.kube.delete(&path, Some(0))?;
        until(&format!("{name} of an earlier run gone"), LIMIT, || {
            Ok(self.kube.find(&path)?.map_or(Ok(()), |_| Err("still there".to_owned())))
        })?;
        self.kube.create(&pods, pod)?;
        let phase = until(&format!("{name} done"), LIMIT, || {
            let pod = self.kube.get(&path)?;
            Ok(match text(&pod, "/status/phase") {
                Some(done @ ("Succeeded" | "Failed")) => Ok(done.to_owned()),
                other => Err(format!("phase {other:?}")),
            })
        })?;
        let log = self.kube.text(&format!("{path}/log"))?;
        self.kube.delete(&path, Some(0))?;
        Ok((phase == "Succeeded", log))
    }
}

/// A pod of the client that the strictest level of Pod Security admits, with a volume (its source
/// and where it is mounted) if it needs one.
pub(crate) fn hardened(
    image: &str,
    name: &str,
    args: &[String],
    volume: Option<(Value, &str)>,
) -> Value {
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    if let Some((mut source, path)) = volume {
        manifest::set(&mut source, "/name", json!("volume"));
        volumes.push(source);
        mounts.push(json!({ "name": "volume", "mountPath": path }));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 1000,
                "fsGroup": 1000,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "client",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": args,
                "volumeMounts": mounts,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
            "volumes": volumes,
        },
    })
}
