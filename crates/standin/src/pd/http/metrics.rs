//! Which of PD's metrics are served? The few that an operator reads.

use std::fmt::Write as _;

use http::StatusCode;

use super::Answer;
use crate::pd::checkers;
use crate::pd::clock;
use crate::pd::server::Server;

/// The Prometheus text of this member; what concerns the cluster comes from the leader only.
pub(super) async fn answer(server: &Server) -> Answer {
    let mut text = String::new();
    let status = server.etcd.identity_and_leader().await;
    let has_leader = u8::from(status.is_ok_and(|(_, leader)| leader != 0));
    let started = server.started;
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{name} {value}");
    };
    line("# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds", &started);
    line("# TYPE etcd_server_has_leader gauge\netcd_server_has_leader", &has_leader);
    let guard = server.lead().await;
    if let Some((lead, cluster)) =
        guard.as_ref().and_then(|lead| Some((lead, lead.cluster.as_ref()?)))
    {
        let now = clock::now_nanos();
        let named = |name: &str| {
            let names = cluster.stores.values().map(|s| s.state_name(now, &lead.settings));
            names.filter(|known| *known == name).count()
        };
        let leaders = cluster.regions.iter().filter(|region| region.leader.is_some()).count();
        let size: u64 = cluster.stores.values().map(|store| store.stats.used_size).sum();
        let mut status = |kind: &str, value: u64| {
            let labels = format!("{{engine=\"tikv\",store=\"all\",type=\"{kind}\"}}");
            line(&format!("pd_cluster_status{labels}"), &value);
        };
        status("store_up_count", named("Up") as u64);
        status("store_disconnected_count", named("Disconnected") as u64);
        status("store_down_count", named("Down") as u64);
        status("store_offline_count", named("Offline") as u64);
        status("store_tombstone_count", named("Tombstone") as u64);
        status("leader_count", leaders as u64);
        status("region_count", cluster.regions.len() as u64);
        status("storage_size", size);
        let replicas = lead.settings.max_replicas();
        let count = |kind: &str| {
            let matching = cluster.regions.iter().filter(|region| match kind {
                "miss-peer-region-count" => region.meta.peers.len() < replicas,
                "extra-peer-region-count" => region.meta.peers.len() > replicas,
                "down-peer-region-count" => !region.down.is_empty(),
                "pending-peer-region-count" => !region.pending.is_empty(),
                "learner-peer-region-count" => region.learners().next().is_some(),
                _ => !checkers::is_replicated(region, replicas),
            });
            matching.count()
        };
        for kind in [
            "miss-peer-region-count",
            "extra-peer-region-count",
            "down-peer-region-count",
            "pending-peer-region-count",
            "learner-peer-region-count",
        ] {
            line(&format!("pd_regions_status{{type=\"{kind}\"}}"), &count(kind));
        }
    }
    drop(guard);
    Answer::typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}
