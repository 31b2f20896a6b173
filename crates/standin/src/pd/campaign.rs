//! Who is the PD leader? The member that holds the leader key under a lease. Only the member whose
//! etcd leads campaigns, so PD's leadership follows etcd's, as the real one's does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tonic::Status;

use super::cluster::keys;
use super::lead::Lead;
use super::server::{LeaderRecord, Server};
use crate::log;
use crate::units;

/// Time between two looks at the leader key.
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
        if server.removed.load(Ordering::SeqCst) {
            continue;
        }
        let key = server.leader_key();
        let looked = tokio::time::timeout(LOOK_LIMIT, server.etcd.get(&key)).await;
        let Ok(Ok(value)) = looked else {
            if seen.elapsed() > FORGET_AFTER && !server.removed.load(Ordering::SeqCst) {
                server.leader.send_replace(None);
            }
            continue;
        };
        seen = Instant::now();
        let record = value.and_then(|value| serde_json::from_slice::<LeaderRecord>(&value).ok());
        match record {
            Some(record) if record.member_id == server.record.member_id => {
                // Left over from before a restart: nobody leads under it.
                let gone = [(key.clone(), None)];
                let own = serde_json::to_vec(&record).unwrap_or_default();
                drop(server.etcd.write_while((&key, &own), &gone).await);
            }
            Some(record) => {
                server.leader.send_replace(Some(record));
                remember(&server).await;
            }
            None => {
                server.leader.send_replace(None);
                if let Err(status) = campaign(&server).await {
                    log::info(&format!("campaign: {}", status.message()));
                }
            }
        }
    }
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

async fn etcd_leads(server: &Server) -> Result<bool, Status> {
    let (own, leader) = server.etcd.identity_and_leader().await?;
    Ok(own == leader)
}

async fn campaign(server: &Arc<Server>) -> Result<(), Status> {
    if !etcd_leads(server).await? {
        return Ok(());
    }
    let granted = Instant::now();
    let lease = server.etcd.grant(server.options.lease).await?;
    if !server.etcd.create(&server.leader_key(), &server.leader_value(), lease).await? {
        return server.etcd.revoke(lease).await;
    }
    match Lead::load(server).await {
        Ok(lead) => {
            *server.lead().await = Some(lead);
            server.leader.send_replace(Some(server.record.clone()));
            log::info("leading");
            lead_while_held(server, lease, granted).await;
            *server.lead().await = None;
            server.leader.send_replace(None);
            log::info("not leading any more");
        }
        Err(status) => {
            log::info(&format!("cannot read the persisted state: {}", status.message()));
        }
    }
    server.etcd.revoke(lease).await
}

/// Leads until the lease runs out, etcd's leadership is elsewhere, or a write fails.
async fn lead_while_held(server: &Arc<Server>, lease: i64, granted: Instant) {
    let time = Duration::from_secs(server.options.lease.unsigned_abs());
    let mut renewed = granted;
    let (mut scheduled, mut checked) = (Instant::now(), Instant::now());
    while renewed.elapsed() < time && server.is_leader().await {
        tokio::time::sleep(LOOK_EVERY).await;
        if renewed.elapsed() > time / 3 {
            let asked = Instant::now();
            match tokio::time::timeout(time / 3, server.etcd.keep_alive(lease)).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => return,
                Ok(Err(_)) | Err(_) => continue,
            }
        }
        let status = server.etcd.identity_and_leader().await;
        if status.is_ok_and(|(own, leader)| leader != 0 && leader != own) {
            return;
        }
        if scheduled.elapsed() >= SCHEDULE_EVERY {
            scheduled = Instant::now();
            round(server, checked.elapsed() >= server.check_interval).await;
            if checked.elapsed() >= server.check_interval {
                checked = Instant::now();
            }
        }
    }
}

/// One round of scheduling, and of the stores' states when that is due.
async fn round(server: &Server, check_stores: bool) {
    let mut lead = server.lead().await;
    let Some(leading) = lead.as_mut() else { return };
    if check_stores && let Ok((cluster, settings)) = leading.parts() {
        cluster.check_stores(settings, units::now_nanos());
    }
    leading.schedule();
    drop(server.commit(&mut lead).await);
}
