//! `cargo xtask demo`: how does somebody who has nothing yet see a cluster run?

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::products;
use crate::site::{Site, SiteArgs};
use crate::tools::shell;

/// The namespace of the demonstration.
pub(crate) const NAMESPACE: &str = "demo";
/// The manifest that is shown, and the name in it.
const EXAMPLE: &str = "examples/basic.yaml";
const CLUSTER: &str = "basic";
/// Longest time for the cluster to be Ready; with images to pull it takes a few minutes.
const LIMIT: Duration = Duration::from_mins(10);
/// Keys that are written and read back.
const KEYS: u32 = 100;

/// Shows the product: a cluster, its status, a client's keys.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    site: SiteArgs,
}

impl DemoArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let begin = Instant::now();
        let site = Site::open(&self.site)?;
        section(begin, "images");
        let debug = products::build_standins()?;
        if site.lab.is_some() {
            site.load_standins(&debug)?;
        }
        site.load_client(&debug)?;
        section(begin, "operator");
        site.install_operator()?;
        section(begin, &format!("cluster of {EXAMPLE}"));
        apply_example(&site)?;
        wait_ready(&site)?;
        section(begin, "kubectl tikv status");
        show_status(&site)?;
        section(begin, "client");
        client(&site)?;
        section(begin, "done");
        println!("{}", what_next(&site));
        Ok(())
    }
}

fn section(begin: Instant, what: &str) {
    println!("\n== {:>4} s  {what}", begin.elapsed().as_secs());
}

/// Applies the example; on the lab with the stand-ins' images, since nothing can be pulled there.
fn apply_example(site: &Site) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    });
    site.apply(&namespace.to_string(), NAMESPACE)?;
    let mut example = site.json(&["create", "--dry-run=client", "-f", EXAMPLE])?;
    if site.lab.is_some() {
        for (component, image) in [("pd", products::STANDIN_PD), ("tikv", products::STANDIN_TIKV)] {
            let spec = example.pointer_mut(&format!("/spec/{component}"));
            let spec = spec.and_then(Value::as_object_mut);
            spec.context("the example has no pd or tikv")?.insert("baseImage".into(), image.into());
            println!("the lab has no registry: spec.{component}.baseImage = {image}");
        }
    }
    // The client side fills in the namespace of the context.
    if let Some(metadata) = example.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    site.apply(&example.to_string(), NAMESPACE)
}

/// Waits, saying each time what the status says, and when.
fn wait_ready(site: &Site) -> Result<()> {
    let begin = Instant::now();
    let mut said = String::new();
    loop {
        let object = site.json(&["-n", NAMESPACE, "get", "tikvcluster", CLUSTER])?;
        let summary = object.pointer("/status/summary").and_then(Value::as_str);
        let summary = summary.unwrap_or("not seen by the operator yet");
        if summary != said {
            println!("{:6.1} s  {summary}", begin.elapsed().as_secs_f64());
            summary.clone_into(&mut said);
        }
        if is_ready(&object) {
            println!("{:6.1} s  Ready", begin.elapsed().as_secs_f64());
            return Ok(());
        }
        if begin.elapsed() > LIMIT {
            let pods = site.ask(&["-n", NAMESPACE, "get", "pods", "-o", "wide"])?;
            bail!("not Ready within {} minutes: {said}\n{pods}", LIMIT.as_secs() / 60);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// `Ready` is true, and for the generation that is stored now.
fn is_ready(object: &Value) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|c| c.get("type") == Some(&json!("Ready")) && c.get("status") == Some(&json!("True")));
    let observed = object.pointer("/status/observedGeneration");
    ready && observed.is_some() && observed == object.pointer("/metadata/generation")
}

fn show_status(site: &Site) -> Result<()> {
    let plugin = products::build(&["kubectl-tikv"])?.join("kubectl-tikv");
    let mut command = Command::new(plugin);
    command.args(["status", CLUSTER, "--namespace", NAMESPACE]);
    if let Some(file) = &site.kubeconfig {
        command.env("KUBECONFIG", file);
    }
    if let Some(context) = &site.context {
        command.args(["--context", context]);
    }
    let said = shell::output(&mut command)?;
    if !said.contains(CLUSTER) {
        bail!("kubectl tikv status says nothing about the cluster: {said:?}");
    }
    print!("{said}");
    Ok(())
}

/// Writes keys from one pod and reads them back from another.
fn client(site: &Site) -> Result<()> {
    for verb in ["write", "verify"] {
        let name = format!("client-{verb}");
        let pod = format!("pod/{name}");
        site.ask(&["-n", NAMESPACE, "delete", &pod, "--ignore-not-found", "--now"])?;
        site.apply(&client_pod(&name, verb).to_string(), NAMESPACE)?;
        let until = "--for=jsonpath={.status.phase}=Succeeded";
        let done = site.ask(&["-n", NAMESPACE, "wait", &pod, until, "--timeout=90s"]);
        let log = site.ask(&["-n", NAMESPACE, "logs", &name])?;
        print!("{log}");
        done.with_context(|| format!("the client could not {verb} its keys"))?;
    }
    Ok(())
}

fn client_pod(name: &str, verb: &str) -> Value {
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
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "client",
                "image": products::CLIENT,
                "imagePullPolicy": "IfNotPresent",
                "args": [
                    verb,
                    format!("--pd={CLUSTER}-pd:2379"),
                    "--prefix=demo",
                    format!("--count={KEYS}"),
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    })
}

fn what_next(site: &Site) -> String {
    let first = match (&site.kubeconfig, &site.context) {
        (Some(file), _) => format!(
            "  export KUBECONFIG={}\n  export PATH={}:$PATH\n",
            file.display(),
            site.kubectl_path().parent().unwrap_or(site.kubectl_path()).display()
        ),
        (None, Some(context)) => format!("  kubectl config use-context {context}\n"),
        (None, None) => String::new(),
    };
    let last = if site.lab.is_some() {
        "  cargo xtask lab down                                 # nothing is left behind\n\n\
         The servers on the lab are stand-ins that speak PD's and TiKV's protocols; they are not TiKV.\n"
    } else {
        ""
    };
    format!(
        "Try next:\n{first}  \
         kubectl -n {NAMESPACE} get tikvclusters                     # one line with a summary\n  \
         kubectl -n {NAMESPACE} delete pod {CLUSTER}-tikv-1               # it comes back with its store\n  \
         kubectl -n {NAMESPACE} describe tikvcluster {CLUSTER}            # conditions and events\n  \
         kubectl -n {NAMESPACE} delete tikvcluster {CLUSTER}              # its volumes stay\n{last}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_for_an_older_generation_is_not_ready() {
        let object = |generation: u64| {
            json!({
                "metadata": { "generation": generation },
                "status": {
                    "observedGeneration": 1,
                    "conditions": [{ "type": "Ready", "status": "True" }],
                },
            })
        };
        assert!(is_ready(&object(1)));
        assert!(!is_ready(&object(2)));
    }
}
