//! Do two clusters in one namespace ever mix?

use std::time::Duration;

use anyhow::{Result, ensure};
use tikv_operator_api::names::CLUSTER_NAME_MAX;

use crate::cluster::{Cluster, unchanged};
use crate::kube::until;
use crate::manifest;
use crate::scene::Scene;
use crate::suite::{Case, Lane, Verdict};

const LIMIT: Duration = Duration::from_mins(3);
const KEYS: u32 = 30;

/// Names of one character and of the limit, one the prefix of the other.
pub(crate) const CASE: Case = Case {
    name: "neighbours",
    lane: Lane::Side,
    long: false,
    proves: "clusters named with 1 and with the most characters, one the prefix of the other, do not mix",
    bound: 600,
    control: None,
    run,
};

fn run(scene: &Scene) -> Result<Verdict> {
    let namespace = scene.namespace("neighbours")?;
    let short = "a".to_owned();
    // The short name with what follows in its pods' names: the hardest prefix there is.
    let mut long = "a-pd-0-a-tikv-".to_owned();
    long.push_str(&"z".repeat(CLUSTER_NAME_MAX.saturating_sub(long.len())));
    ensure!(long.len() == CLUSTER_NAME_MAX, "{long} is not of the maximum length");
    let start = |name: &str| {
        let wanted = manifest::cluster(&scene.servers, name, 1, 1);
        Cluster::create(&scene.kube, &namespace, &wanted)
    };
    let (a, z) = (start(&short)?, start(&long)?);
    a.wait_ready(LIMIT)?;
    z.wait_ready(LIMIT)?;
    let (id_a, id_z) = (a.recorded_id()?, z.recorded_id()?);
    ensure!(id_a.is_some() && id_a != id_z, "cluster ids {id_a:?} and {id_z:?}");
    for cluster in [&a, &z] {
        let pod = format!("{}-pd-0", cluster.name);
        let store = format!("{}-tikv-0", cluster.name);
        until(&format!("PD's word on {}", cluster.name), LIMIT, || {
            let pd = scene.pd(cluster);
            let (members, stores) = (pd.members(&pod)?, pd.up_stores(&pod)?);
            // Silence is asked again; a stranger in the answer is one for good.
            ensure!(members.iter().all(|m| *m == pod), "{} has {members:?}", cluster.name);
            ensure!(stores.iter().all(|(s, _)| *s == store), "{} has {stores:?}", cluster.name);
            let all = !members.is_empty() && !stores.is_empty();
            Ok(if all { Ok(()) } else { Err(format!("{members:?}, {stores:?}")) })
        })?;
    }
    let client = scene.client();
    client.write(&z, "z", KEYS)?;
    let (before, volumes) = (z.incarnations()?, z.claims()?);
    a.delete(LIMIT)?;
    client.verify(&z, "z", KEYS)?;
    unchanged(&before, &z.incarnations()?)?;
    ensure!(z.claims()?.keys().eq(volumes.keys()), "the neighbour's volumes changed");
    z.wait_ready(LIMIT)?;
    Ok(Verdict::Held(format!("names of 1 and {CLUSTER_NAME_MAX} characters")))
}
