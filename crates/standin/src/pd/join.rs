//! Does this start found a cluster, join one, or go on with the data it has? The rules and their
//! messages are those of PD v8.5.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tonic::Status;

use super::etcd::Etcd;
use super::etcd_process::Founding;
use super::options::Options;
use crate::proto::etcdserverpb::Member;

/// Times that a joining member looks for itself in the list, half a second apart.
const LIST_ATTEMPTS: u32 = 20;

/// Decides how etcd starts, and joins the cluster when that is what has to be done.
pub async fn prepare(options: &Options) -> Result<Founding> {
    let existing = |initial_cluster: String| Founding { initial_cluster, state: "existing".into() };
    if options.join.is_empty() {
        let (initial_cluster, state) =
            (options.initial_cluster.clone(), options.initial_cluster_state.clone());
        return Ok(Founding { initial_cluster, state });
    }
    if options.join == options.advertise_client_urls {
        bail!("join self is forbidden");
    }
    let remembered = options.data_dir.join("join");
    if let Ok(initial_cluster) = std::fs::read_to_string(&remembered) {
        return Ok(existing(initial_cluster.trim().to_owned()));
    }
    if has_data(&options.data_dir.join("member")) {
        return Ok(existing(String::new()));
    }
    let initial_cluster = join(options).await?;
    std::fs::create_dir_all(&options.data_dir)
        .and_then(|()| std::fs::write(&remembered, &initial_cluster))
        .with_context(|| format!("cannot write {}", remembered.display()))?;
    Ok(existing(initial_cluster))
}

/// A directory with anything in it.
fn has_data(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// Adds this member; the answer is the `initial-cluster` that etcd needs.
async fn join(options: &Options) -> Result<String> {
    let etcd = connect(&options.join).await?;
    let failed = |error: Status| anyhow::anyhow!("join failed: {}", error.message());
    let members = etcd.members().await.map_err(failed)?;
    all_joined(&members)?;
    if members.iter().any(|member| member.name == options.name) {
        bail!("missing data or join a duplicated pd");
    }
    let added = etcd.add_member(split(&options.advertise_peer_urls)).await.map_err(failed)?;
    let id = added.member.map(|member| member.id).unwrap_or_default();
    for _ in 0..LIST_ATTEMPTS {
        let mut members = etcd.members().await.map_err(failed)?;
        if let Some(own) = members.iter_mut().find(|member| member.id == id) {
            own.name.clone_from(&options.name);
            all_joined(&members)?;
            let urls = members.iter().flat_map(|member| {
                member.peer_ur_ls.iter().map(|url| format!("{}={url}", member.name))
            });
            return Ok(urls.collect::<Vec<_>>().join(","));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bail!("join failed, adds the new member {} may failed", options.name)
}

async fn connect(urls: &str) -> Result<Etcd> {
    let mut last = String::new();
    for url in split(urls) {
        match Etcd::at_url(&url).await {
            Ok(etcd) => return Ok(etcd),
            Err(error) => error.message().clone_into(&mut last),
        }
    }
    bail!("join failed: no member answers: {last}")
}

/// A member that was added and never started stops every other join (trap 7).
fn all_joined(members: &[Member]) -> Result<()> {
    match members.iter().find(|member| member.name.is_empty()) {
        Some(half) => bail!("there is a member {} that has not joined successfully", half.id),
        None => Ok(()),
    }
}

fn split(urls: &str) -> Vec<String> {
    urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
}
