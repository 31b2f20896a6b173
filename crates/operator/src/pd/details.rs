//! What is asked only when something is not as always?
//!
//! Each of these answers is a fact of its own: one that fails is unknown and does not make the
//! rest of the look fail.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use http::uri::Authority;
use jiff::SignedDuration;
use tikv_operator_core::world::{Maintenance, Progress, StoreFacts, StoreId, StoreState};

use super::{
    client::{PdClient, Question},
    critical::critical,
    error::PdError,
    wire,
};
use crate::metrics::PdEndpoint;

/// Bytes in a megabyte as PD counts region sizes.
const MEGABYTE: f64 = 1_048_576.0;
/// PD calls a store Disconnected after this time without a heartbeat.
const SILENT: SignedDuration = SignedDuration::from_secs(20);

impl PdClient {
    /// Stores whose loss would cost some region its quorum.
    pub(super) async fn critical(
        &self,
        member: &Authority,
        stores: &BTreeMap<StoreId, StoreFacts>,
    ) -> Option<BTreeMap<StoreId, u64>> {
        let (miss, down, pending) = tokio::join!(
            self.get::<wire::Regions>(member, PdEndpoint::MissPeer),
            self.get::<wire::Regions>(member, PdEndpoint::DownPeer),
            self.get::<wire::Regions>(member, PdEndpoint::PendingPeer),
        );
        critical(&[miss.ok()?, down.ok()?, pending.ok()?], &heard(stores))
    }

    /// How far PD is with emptying the stores that are Offline, where it says.
    pub(super) async fn progress(
        &self,
        member: &Authority,
        stores: &BTreeMap<StoreId, StoreFacts>,
    ) -> BTreeMap<StoreId, Progress> {
        let offline = stores.values().filter(|store| store.state == StoreState::Offline);
        let asked = offline.map(|store| async {
            // 404: PD's leader has nothing to report, which a change of the leader causes too.
            let answer = self.get(member, Question::progress(store.id)).await;
            answer.ok().map(|answer| (store.id, progress(&answer)))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Who holds the lock for disruptive work (v8.5.7 and later).
    pub(super) async fn maintenance(&self, member: &Authority) -> Maintenance {
        match self.get::<Vec<wire::Task>>(member, PdEndpoint::Maintenance).await {
            Ok(tasks) => tasks.into_iter().next().map_or(Maintenance::Free, |task| {
                Maintenance::Held { kind: task.kind, id: task.id }
            }),
            Err(PdError::NotFound(text)) if text.starts_with("No maintenance task") => {
                Maintenance::Free
            }
            // A version without the endpoint says "404 page not found".
            Err(PdError::NotFound(_)) => Maintenance::Unsupported,
            Err(error) => Maintenance::Unknown { reason: error.to_string() },
        }
    }

    /// Is an online unsafe recovery going on? Asked only where some store is not Up.
    pub(super) async fn unsafe_recovery(
        &self,
        member: &Authority,
        stores: &BTreeMap<StoreId, StoreFacts>,
    ) -> Option<bool> {
        if stores.values().all(|store| store.state == StoreState::Up) {
            return None;
        }
        match self.get::<Vec<wire::RecoveryLine>>(member, PdEndpoint::UnsafeRecovery).await {
            Ok(lines) => is_recovering(&lines),
            // A version without the endpoint has no such recovery.
            Err(PdError::NotFound(_)) => Some(false),
            Err(_) => None,
        }
    }
}

/// Stores whose heartbeats PD hears. One that is being removed reads Offline whether it is heard
/// or not: it is, if its last heartbeat is hardly older than the newest of all.
fn heard(stores: &BTreeMap<StoreId, StoreFacts>) -> BTreeSet<StoreId> {
    let newest = stores.values().filter_map(|store| store.last_heartbeat).max();
    let fresh = |store: &StoreFacts| match (store.last_heartbeat, newest) {
        (Some(last), Some(newest)) => newest.duration_since(last) <= SILENT,
        (None, _) | (_, None) => false,
    };
    let heard = stores.values().filter(|store| match store.state {
        StoreState::Up => true,
        StoreState::Offline => fresh(store),
        StoreState::Disconnected | StoreState::Down | StoreState::Tombstone => false,
    });
    heard.map(|store| store.id).collect()
}

fn progress(answer: &wire::Progress) -> Progress {
    // PD writes the largest double where it does not know.
    let left = answer.left_seconds.filter(|left| (0.0..1e15).contains(left));
    Progress {
        done: answer.done,
        speed: answer.current_speed * MEGABYTE,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        left_seconds: left.map(|left| left.round() as u64),
    }
}

/// The stages of the last recovery, oldest first; a finished one stays listed until PD's leader
/// changes. `None` for an answer that says nothing.
fn is_recovering(lines: &[wire::RecoveryLine]) -> Option<bool> {
    const ENDED: [&str; 4] = [
        "no on-going recovery",
        // Before v6.1, which says no more than that once it has ended.
        "no on-going operation",
        "unsafe recovery finished",
        "unsafe recovery failed",
    ];
    let (wire::RecoveryLine::Stage { info } | wire::RecoveryLine::Text(info)) = lines.last()?;
    let last = info.to_lowercase();
    Some(!ENDED.iter().any(|end| last.starts_with(end)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As v6.1 and later write them, and as v5.3 to v6.0 did.
    fn both_spellings(infos: &[&str]) -> [Vec<wire::RecoveryLine>; 2] {
        let stages: Vec<_> = infos.iter().map(|info| json!({ "info": info })).collect();
        [json!(stages), json!(infos)].map(|list| serde_json::from_value(list).unwrap())
    }

    #[test]
    fn a_recovery_goes_on_until_its_last_stage_says_otherwise() {
        for (infos, want) in [
            (&["No on-going recovery."][..], Some(false)),
            (&["Unsafe recovery enters collect report stage"], Some(true)),
            (
                &[
                    "Unsafe recovery enters force leader stage",
                    "Collecting reports from alive stores(2/3)",
                ],
                Some(true),
            ),
            (
                &["Unsafe recovery enters collect report stage", "Unsafe recovery Finished"],
                Some(false),
            ),
            (&["Unsafe recovery failed: timeout"], Some(false)),
            (&["No on-going operation."], Some(false)),
            (
                &[
                    "Collecting cluster info from all alive stores, 1/3.",
                    "Stores that have not reported to PD: 2,3,",
                ],
                Some(true),
            ),
            (&["something new"], Some(true)),
            (&[], None),
        ] {
            for lines in both_spellings(infos) {
                assert_eq!(is_recovering(&lines), want, "{infos:?}");
            }
        }
    }

    #[test]
    fn progress_has_bytes_and_no_endless_time() {
        let unknown =
            wire::Progress { done: 0.0, current_speed: 0.0, left_seconds: Some(f64::MAX) };
        assert_eq!(progress(&unknown), Progress { done: 0.0, speed: 0.0, left_seconds: None });
        let known = wire::Progress { done: 0.5, current_speed: 2.0, left_seconds: Some(61.4) };
        let want = Progress { done: 0.5, speed: 2.0 * 1024.0 * 1024.0, left_seconds: Some(61) };
        assert_eq!(progress(&known), want);
    }
}
