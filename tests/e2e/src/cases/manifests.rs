//! Do the longest-known and the shortest manifest work?

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const READY: Duration = Duration::from_mins(4);

/// The manifest that the project was founded on.
pub(crate) const FOUNDING: Case = Case {
    name: "founding",
    lane: Lane::Side,
    long: false,
    proves: "the founding manifest (but for where its images are) ends Ready, as its version",
    bound: 400,
    control: None,
    run: |scene| ready(scene, "founding", &manifest::founding(&scene.servers)?),
};

/// Only `spec.version`.
pub(crate) const ONLY_VERSION: Case = Case {
    name: "only-version",
    lane: Lane::Side,
    long: false,
    proves: "a manifest with only spec.version ends Ready",
    bound: 400,
    control: None,
    run: |scene| ready(scene, "only-version", &manifest::only_version(&scene.servers)?),
};

fn ready(scene: &Scene, case: &str, manifest: &Value) -> Result<Verdict> {
    let namespace = scene.namespace(case)?;
    let cluster = Cluster::create(&scene.kube, &namespace, manifest)?;
    cluster.wait_ready(READY)?;
    scene.client().write(&cluster, "k", 20)?;
    let versions = scene.pd(&cluster).versions()?;
    let founding = scene.servers.founding_version.as_deref().filter(|_| case == FOUNDING.name);
    if let Some(wanted) = founding {
        let wanted = wanted.trim_start_matches('v');
        ensure!(
            versions.iter().all(|version| version == wanted),
            "its servers are {versions:?}, not {wanted}"
        );
    }
    let versions = versions.into_iter().collect::<Vec<_>>().join(" and ");
    let exact = if scene.servers.few_open_files {
        "; with the small configuration, since the nodes allow few open files"
    } else {
        ""
    };
    Ok(Verdict::Held(format!("20 keys written to servers of {versions}{exact}")))
}
