//! How is PD asked one question?
//!
//! Each question has its own path, and limits for the size of its answer and the time it may take.

use std::{borrow::Cow, time::Duration};

use http::uri::Authority;
use serde::de::DeserializeOwned;
use tikv_operator_core::world::StoreId;

use super::{error::PdError, transport::Transport};
use crate::metrics::{Metrics, PdEndpoint, PdOutcome};

/// Body limit for lists of stores and regions: 16 MiB hold some 10,000 stores.
const LIST_MAX: usize = 16 * 1024 * 1024;
/// Body limit for everything else.
pub(super) const BODY_MAX: usize = 64 * 1024;
/// Time for `/health`: the member pings each of its peers for up to 3 s, one after the other, and
/// a quorum of seven leaves three of them dead.
const HEALTH_TIME: Duration = Duration::from_secs(10);

/// The client for PD.
#[derive(Clone)]
pub struct PdClient {
    pub(super) transport: Transport,
    pub(super) metrics: Metrics,
}

/// A question about one store, or none in particular.
#[derive(Clone, Copy)]
pub(super) struct Question {
    endpoint: PdEndpoint,
    store: Option<StoreId>,
}

impl From<PdEndpoint> for Question {
    fn from(endpoint: PdEndpoint) -> Self {
        Self { endpoint, store: None }
    }
}

impl Question {
    /// How far PD is with emptying a store.
    pub(super) fn progress(store: StoreId) -> Self {
        Self { endpoint: PdEndpoint::Progress, store: Some(store) }
    }

    fn path(self) -> Cow<'static, str> {
        Cow::Borrowed(match self.endpoint {
            PdEndpoint::Members => "/pd/api/v1/members",
            PdEndpoint::Health => "/pd/api/v1/health",
            // Without a state filter this endpoint lists every state, tombstones included.
            PdEndpoint::Stores => "/pd/api/v1/stores/check",
            PdEndpoint::StoresByState => "/pd/api/v1/stores?state=0&state=1&state=2",
            PdEndpoint::Evicting => "/pd/api/v1/scheduler-config/evict-leader-scheduler/list",
            PdEndpoint::Config => "/pd/api/v1/config",
            PdEndpoint::Replicate => "/pd/api/v1/config/replicate",
            PdEndpoint::Regions => "/pd/api/v1/regions/count",
            PdEndpoint::AllRegions => "/pd/api/v1/regions",
            PdEndpoint::Replicated => "/pd/api/v1/regions/replicated?startKey=&endKey=",
            PdEndpoint::MissPeer => "/pd/api/v1/regions/check/miss-peer",
            PdEndpoint::DownPeer => "/pd/api/v1/regions/check/down-peer",
            PdEndpoint::PendingPeer => "/pd/api/v1/regions/check/pending-peer",
            PdEndpoint::ClusterStatus => "/pd/api/v1/cluster/status",
            PdEndpoint::Maintenance => "/pd/api/v2/maintenance",
            PdEndpoint::UnsafeRecovery => "/pd/api/v1/admin/unsafe/remove-failed-stores/show",
            PdEndpoint::Progress => {
                let id = self.store.map_or(0, |store| store.0);
                return Cow::Owned(format!("/pd/api/v1/stores/progress?id={id}"));
            }
        })
    }

    fn body_max(self) -> usize {
        match self.endpoint {
            PdEndpoint::Stores
            | PdEndpoint::StoresByState
            | PdEndpoint::AllRegions
            | PdEndpoint::MissPeer
            | PdEndpoint::DownPeer
            | PdEndpoint::PendingPeer => LIST_MAX,
            // A recovery lists what it does with each region.
            PdEndpoint::UnsafeRecovery | PdEndpoint::Config => 16 * BODY_MAX,
            PdEndpoint::Members
            | PdEndpoint::Health
            | PdEndpoint::Evicting
            | PdEndpoint::Replicate
            | PdEndpoint::Regions
            | PdEndpoint::Replicated
            | PdEndpoint::ClusterStatus
            | PdEndpoint::Maintenance
            | PdEndpoint::Progress => BODY_MAX,
        }
    }
}

impl PdClient {
    /// A client that counts its calls in `metrics`.
    pub fn new(transport: Transport, metrics: Metrics) -> Self {
        Self { transport, metrics }
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        member: &Authority,
        question: impl Into<Question>,
    ) -> Result<T, PdError> {
        let question = question.into();
        let call = self.transport.limits().call;
        let health = question.endpoint == PdEndpoint::Health;
        let time = if health { call.max(HEALTH_TIME) } else { call };
        let answer = self.transport.get(member, &question.path(), question.body_max(), time).await;
        let answer = answer.and_then(|body| {
            serde_json::from_slice(&body).map_err(|error| PdError::Malformed(error.to_string()))
        });
        let outcome = answer.as_ref().err().map_or(PdOutcome::Ok, PdError::outcome);
        self.metrics.pd_call(question.endpoint, outcome);
        answer
    }
}
