//! Does this start found a cluster, join one, or go on with the data it has? The rules and their
//! messages are those of PD v8.5.

use std::path::Path;
use std::time::Duration;

use tonic::Status;

use super::etcd::Etcd;
use super::etcd_process::Founding;
use super::options::Options;
use crate::proto::etcdserverpb::Member;

/// Times that a joining member looks for itself in the list, half a second apart.
const LIST_ATTEMPTS: u32 = 20;

/// Decides how etcd starts, and joins the cluster when that is what has to be done.
pub async fn prepare(options: &Options) -> Result<Founding, String> {
    let existing = |initial_cluster: String| Founding { initial_cluster, state: "existing".into() };
    if options.join.is_empty() {
        return Ok(Founding {
            initial_cluster: options.initial_cluster.clone(),
            state: options.initial_cluster_state.clone(),
        });
    }
    if options.join == options.advertise_client_urls {
        return Err("join self is forbidden".into());
    }
    let remembered = options.data_dir.join("join");
    if let Ok(initial_cluster) = std::fs::read_to_string(&remembered) {
        return Ok(existing(initial_cluster.trim().to_owned()));
    }
    if has_data(&options.data_dir.join("member")) {
        return Ok(existing(String::new()));
    }
    let initial_cluster = join(options).await?;
    let written = std::fs::create_dir_all(&options.data_dir)
        .and_then(|()| std::fs::write(&remembered, &initial_cluster));
    written.map_err(|error| format!("cannot write {}: {error}", remembered.display()))?;
    Ok(existing(initial_cluster))
}

/// A directory with anything in it.
fn has_data(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// Adds this member; the answer is the `initial-cluster` that etcd needs.
async fn join(options: &Options) -> Result<String, String> {
    let etcd = connect(&options.join).await?;
    let text = |error: Status| format!("join failed: {}", error.message());
    let members = etcd.members().await.map_err(text)?;
    check_members(&members, &options.name)?;
    let peer_urls: Vec<String> = split(&options.advertise_peer_urls);
    let added = etcd.add_member(peer_urls).await.map_err(text)?;
    let id = added.member.map(|member| member.id).unwrap_or_default();
    for _ in 0..LIST_ATTEMPTS {
        let members = etcd.members().await.map_err(text)?;
        if members.iter().any(|member| member.id == id) {
            return initial_cluster(&members, id, &options.name);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(format!("join failed, adds the new member {} may failed", options.name))
}

async fn connect(urls: &str) -> Result<Etcd, String> {
    let mut last = String::new();
    for url in split(urls) {
        match Etcd::at_url(&url).await {
            Ok(etcd) => return Ok(etcd),
            Err(error) => error.message().clone_into(&mut last),
        }
    }
    Err(format!("join failed: no member answers: {last}"))
}

fn check_members(members: &[Member], name: &str) -> Result<(), String> {
    for member in members {
        if member.name.is_empty() {
            return Err(format!(
                "there is a member {} that has not joined successfully",
                member.id
            ));
        }
        if member.name == name {
            return Err("missing data or join a duplicated pd".into());
        }
    }
    Ok(())
}

fn initial_cluster(members: &[Member], own: u64, name: &str) -> Result<String, String> {
    let mut parts = Vec::new();
    for member in members {
        let name = if member.id == own { name } else { &member.name };
        if name.is_empty() {
            return Err(format!(
                "there is a member {} that has not joined successfully",
                member.id
            ));
        }
        parts.extend(member.peer_ur_ls.iter().map(|url| format!("{name}={url}")));
    }
    Ok(parts.join(","))
}

fn split(urls: &str) -> Vec<String> {
    urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
}
