//! Who is the PD leader? The member whose etcd leads, once it has put its name into the leader key.
//! Every write of a leader depends on that key, so one that was overtaken writes nothing more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prost::Message as _;
use tonic::Status;

use super::cluster::Cluster;
use super::lead::keys;
use super::server::Server;
use crate::proto::pdpb::Member;
use crate::units;

/// Time between two looks at who leads.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Time between two rounds of scheduling.
const SCHEDULE_EVERY: Duration = Duration::from_millis(500);

/// Longest wait for etcd before a look counts as failed.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// A member that cannot reach a quorum for this long believes in no leader any more.
const FORGET_AFTER: Duration = Duration::from_secs(3);

/// Follows the leader key for ever, and leads when it is this member's turn.
pub async fn run(server: Arc<Server>) {
    let mut seen = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match tokio::time::timeout(LOOK_LIMIT, look(&server)).await {
            _ if server.removed.load(Ordering::SeqCst) => continue,
            Ok(Ok((true, value))) => {
                if let Err(status) = lead(&server, value).await {
                    log::info!("cannot lead: {}", status.message());
                }
                *server.lead().await = None;
                server.leader.send_replace(None);
            }
            Ok(Ok((false, value))) => {
                let record = value.and_then(|value| Member::decode(&*value).ok());
                let own = |record: &Member| record.member_id == server.record.member_id;
                // The own name is left over from when this member led.
                server.leader.send_replace(record.filter(|record| !own(record)));
                remember(&server).await;
            }
            Ok(Err(_)) | Err(_) => {
                if seen.elapsed() > FORGET_AFTER {
                    server.leader.send_replace(None);
                }
                continue;
            }
        }
        seen = Instant::now();
    }
}

/// Whether the own etcd leads, and the leader key, which only a quorum answers.
async fn look(server: &Server) -> Result<(bool, Option<Vec<u8>>), Status> {
    let value = server.etcd.get(&server.leader_key()).await?;
    let (own, leader) = server.etcd.identity_and_leader().await?;
    Ok((own == leader, value))
}

/// What a follower must know later without its etcd, or without a quorum.
async fn remember(server: &Server) {
    drop(server.local_members().await);
    if !server.bootstrapped.load(Ordering::SeqCst) {
        let key = format!("{}{}", server.prefix(), keys::BOOTSTRAPPED);
        let found = server.etcd.get(&key).await.is_ok_and(|value| value.is_some());
        server.bootstrapped.store(found, Ordering::SeqCst);
    }
}

/// Takes the leader key over from whoever `value` names, and leads for as long as the own etcd does.
async fn lead(server: &Arc<Server>, value: Option<Vec<u8>>) -> Result<(), Status> {
    let (key, own) = (server.leader_key(), server.leader_value());
    let taken = match value {
        None => server.etcd.create(&key, &own).await?,
        Some(value) => server.etcd.write_while((&key, &value), &[(key.clone(), Some(own))]).await?,
    };
    if !taken {
        return Ok(());
    }
    *server.lead().await = Some(Cluster::load(server).await?);
    server.leader.send_replace(Some(server.record.clone()));
    log::info!("leading");
    lead_while_etcd_does(server).await;
    log::info!("not leading any more");
    Ok(())
}

/// Leads until etcd's leadership is elsewhere, or lost for as long as PD's lease is, or a write fails.
async fn lead_while_etcd_does(server: &Arc<Server>) {
    let lease = Duration::from_secs(server.options.lease.unsigned_abs());
    let (mut led, mut checked) = (Instant::now(), Instant::now());
    let mut looks = tokio::time::interval(SCHEDULE_EVERY);
    while led.elapsed() < lease && server.is_leader().await {
        looks.tick().await;
        let asked = server.etcd.identity_and_leader();
        match tokio::time::timeout(LOOK_LIMIT, asked).await {
            Ok(Ok((own, leader))) if own == leader => led = Instant::now(),
            // A vote is under way; writes wait for its outcome.
            Ok(Ok((_, 0)) | Err(_)) | Err(_) => continue,
            Ok(Ok(_)) => return,
        }
        let check_stores = checked.elapsed() >= server.check_interval;
        round(server, check_stores).await;
        if check_stores {
            checked = Instant::now();
        }
    }
}

/// One round of scheduling, and of the stores' states when that is due.
async fn round(server: &Server, check_stores: bool) {
    let mut lead = server.lead().await;
    if let Some(cluster) = lead.as_mut().filter(|cluster| cluster.bootstrapped_at.is_some()) {
        if check_stores {
            cluster.check_stores(units::now_nanos());
        }
        cluster.schedule();
        drop(server.commit(&mut lead).await);
    }
}
