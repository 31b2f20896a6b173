//! In which order is PD asked, and what does one whole answer hold?

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use http::uri::Authority;
use serde::de::DeserializeOwned;
use tikv_operator_core::world::{
    ClusterId, LeaderFacts, Maintenance, PdFacts, PdMember, PdMemberId, Replication, StoreFacts,
    StoreId,
};

use super::{
    error::{PdError, shorten},
    facts::{self, Membership},
    transport::Transport,
    wire,
};
use crate::metrics::{Metrics, PdEndpoint, PdOutcome};

/// Body limit for lists of stores and regions: 16 MiB hold some 10,000 stores.
const LIST_MAX: usize = 16 * 1024 * 1024;
/// Body limit for everything else.
const BODY_MAX: usize = 64 * 1024;
/// Time for `/health`: the member pings each of its peers for up to 3 s, one after the other, and
/// a quorum of seven leaves three of them dead.
const HEALTH_TIME: Duration = Duration::from_secs(10);
/// Time for one whole look through all members.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// Everything that one look at PD gave, apart from what only this process can know (how long the
/// leader has been seen).
#[derive(Clone, Debug, PartialEq)]
pub struct PdAnswer {
    /// The member that answered.
    pub through: Authority,
    cluster_id: ClusterId,
    members: BTreeMap<PdMemberId, PdMember>,
    /// The leader at the time.
    pub leader: PdMemberId,
    bootstrapped: bool,
    stores: BTreeMap<StoreId, StoreFacts>,
    evicting: BTreeSet<StoreId>,
    replication: Replication,
    fewest_peers: Option<u32>,
    regions: u64,
    max_replicas: Option<u32>,
    location_labels: Vec<String>,
}

impl PdAnswer {
    /// The facts for the planner, with the leader as this process has observed it.
    pub fn into_facts(self, leader: LeaderFacts) -> PdFacts {
        PdFacts {
            cluster_id: self.cluster_id,
            members: self.members,
            leader,
            bootstrapped: self.bootstrapped,
            stores: self.stores,
            evicting: self.evicting,
            replication: self.replication,
            fewest_peers: self.fewest_peers,
            regions: self.regions,
            max_replicas: self.max_replicas,
            location_labels: self.location_labels,
            critical: None,
            progress: BTreeMap::new(),
            config: None,
            maintenance: Maintenance::Unsupported,
            unsafe_recovery: None,
        }
    }
}

/// The client for PD.
#[derive(Clone)]
pub struct PdClient {
    transport: Transport,
    metrics: Metrics,
}

impl PdClient {
    /// A client that counts its calls in `metrics`.
    pub fn new(transport: Transport, metrics: Metrics) -> Self {
        Self { transport, metrics }
    }

    /// Asks `members`, in this order, until one gives a whole answer through a leader. The error
    /// is a sentence that says what each of them answered.
    pub async fn look(&self, members: &[Authority]) -> Result<PdAnswer, String> {
        let mut failures = Vec::new();
        let looks = async {
            for member in members {
                match self.look_through(member).await {
                    Ok(answer) => return Some(answer),
                    Err(error) => failures.push(format!("{member}: {error}")),
                }
            }
            None
        };
        match tokio::time::timeout(LOOK_TIME, looks).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(shorten(&failures.join("; "))),
            Err(_) => Err(shorten(&format!(
                "no whole answer within {} s; {}",
                LOOK_TIME.as_secs(),
                failures.join("; ")
            ))),
        }
    }

    async fn look_through(&self, member: &Authority) -> Result<PdAnswer, PdError> {
        let membership = facts::membership(self.get(member, PdEndpoint::Members).await?)?;
        let (health, stores, evicting, regions, replicate) = tokio::join!(
            self.get::<Vec<wire::Health>>(member, PdEndpoint::Health),
            self.stores(member),
            self.evicting(member),
            self.regions(member),
            self.get::<wire::Replicate>(member, PdEndpoint::Replicate),
        );
        let (health, stores, evicting) = (health?, stores?, evicting?);
        let bootstrapped = stores.is_some();
        let replicate = replicate.ok();
        let regions = regions.unwrap_or(0);
        // The scan over all regions is asked for only where its answer can mean something.
        let replication = if bootstrapped && regions > 0 {
            self.replication(member).await
        } else {
            Replication::Unknown
        };
        let few = match (&stores, &replicate) {
            (Some(stores), Some(replicate)) => facts::live(stores) < replicate.max_replicas,
            (None, _) | (_, None) => false,
        };
        let fewest_peers = if few && regions > 0 { self.fewest_peers(member).await } else { None };
        let Membership { cluster_id, members, leader } = membership;
        Ok(PdAnswer {
            through: member.clone(),
            cluster_id,
            members: facts::with_health(members, &health),
            leader,
            bootstrapped,
            stores: stores.unwrap_or_default(),
            evicting,
            replication,
            fewest_peers,
            regions,
            max_replicas: replicate.as_ref().map(|answer| answer.max_replicas),
            location_labels: replicate
                .map(|answer| facts::location_labels(&answer.location_labels))
                .unwrap_or_default(),
        })
    }

    /// All stores with tombstones; `None` where no store has ever registered.
    async fn stores(
        &self,
        member: &Authority,
    ) -> Result<Option<BTreeMap<StoreId, StoreFacts>>, PdError> {
        let answer = match self.get(member, PdEndpoint::Stores).await {
            // `/stores/check` is younger than v4.0.
            Err(PdError::NotFound(_)) => self.get(member, PdEndpoint::StoresByState).await,
            other => other,
        };
        match answer {
            Ok(list) => facts::stores(list).map(Some),
            Err(PdError::NotBootstrapped) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn evicting(&self, member: &Authority) -> Result<BTreeSet<StoreId>, PdError> {
        match self.get(member, PdEndpoint::Evicting).await {
            Ok(list) => facts::evicting(list),
            // 404: there is no such scheduler.
            Err(PdError::NotFound(_) | PdError::NotBootstrapped) => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    async fn regions(&self, member: &Authority) -> Result<u64, PdError> {
        match self.get::<wire::Count>(member, PdEndpoint::Regions).await {
            Ok(answer) => Ok(answer.count),
            Err(PdError::NotBootstrapped) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// PD's word on the whole key range; where the version has no such endpoint, what its lists
    /// allow to conclude.
    async fn replication(&self, member: &Authority) -> Replication {
        match self.get::<wire::Replicated>(member, PdEndpoint::Replicated).await {
            Ok(answer) => facts::replication(&answer),
            Err(PdError::NotFound(_)) => self.replication_by_lists(member).await,
            Err(_) => Replication::Unknown,
        }
    }

    async fn replication_by_lists(&self, member: &Authority) -> Replication {
        let (miss, status) = tokio::join!(
            self.get::<wire::Count>(member, PdEndpoint::MissPeer),
            self.get::<wire::ClusterStatus>(member, PdEndpoint::ClusterStatus),
        );
        match (miss, status) {
            (Ok(wire::Count { count: 0 }), Ok(wire::ClusterStatus { is_initialized: true })) => {
                Replication::Replicated
            }
            (Ok(_), Ok(_)) => Replication::InProgress,
            (Err(_), _) | (_, Err(_)) => Replication::Unknown,
        }
    }

    /// What `replication` cannot say where there are fewer stores than replicas wanted.
    async fn fewest_peers(&self, member: &Authority) -> Option<u32> {
        let answer = self.get::<wire::Regions>(member, PdEndpoint::AllRegions).await.ok()?;
        facts::fewest_peers(&answer)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        member: &Authority,
        endpoint: PdEndpoint,
    ) -> Result<T, PdError> {
        let call = self.transport.limits().call;
        let (path, body_max, time) = match endpoint {
            PdEndpoint::Members => ("/pd/api/v1/members", BODY_MAX, call),
            PdEndpoint::Health => ("/pd/api/v1/health", BODY_MAX, call.max(HEALTH_TIME)),
            // Without a state filter this endpoint lists every state, tombstones included.
            PdEndpoint::Stores => ("/pd/api/v1/stores/check", LIST_MAX, call),
            PdEndpoint::StoresByState => {
                ("/pd/api/v1/stores?state=0&state=1&state=2", LIST_MAX, call)
            }
            PdEndpoint::Evicting => {
                ("/pd/api/v1/scheduler-config/evict-leader-scheduler/list", BODY_MAX, call)
            }
            PdEndpoint::Replicate => ("/pd/api/v1/config/replicate", BODY_MAX, call),
            PdEndpoint::Regions => ("/pd/api/v1/regions/count", BODY_MAX, call),
            PdEndpoint::AllRegions => ("/pd/api/v1/regions", LIST_MAX, call),
            PdEndpoint::Replicated => {
                ("/pd/api/v1/regions/replicated?startKey=&endKey=", BODY_MAX, call)
            }
            PdEndpoint::MissPeer => ("/pd/api/v1/regions/check/miss-peer", LIST_MAX, call),
            PdEndpoint::ClusterStatus => ("/pd/api/v1/cluster/status", BODY_MAX, call),
        };
        let answer = self.transport.get(member, path, body_max, time).await.and_then(|body| {
            serde_json::from_slice(&body).map_err(|error| PdError::Malformed(error.to_string()))
        });
        let outcome = answer.as_ref().err().map_or(PdOutcome::Ok, PdError::outcome);
        self.metrics.pd_call(endpoint, outcome);
        answer
    }
}
