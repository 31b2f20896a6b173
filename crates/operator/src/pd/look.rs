//! In which order is PD asked, and what does one whole answer hold?

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use http::uri::Authority;
use serde_json::Value;
use tikv_operator_core::world::{
    ClusterId, LeaderFacts, Maintenance, PdFacts, PdMember, PdMemberId, Progress, Replication,
    StoreFacts, StoreId,
};

use super::{
    client::PdClient,
    error::{PdError, shorten},
    facts::{self, Membership},
    wire,
};
use crate::metrics::PdEndpoint;

/// Time for one whole look through all members.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What a cluster in which nothing happens is asked once a minute.
    Quiet,
    /// All that decides whether something may be taken away.
    Full,
}

/// What a destructive step is checked against.
#[derive(Clone, Debug, PartialEq)]
pub struct Again {
    /// The cluster that answered.
    pub cluster_id: ClusterId,
    /// All members, with their health.
    pub members: BTreeMap<PdMemberId, PdMember>,
    /// The leader; one of `members`.
    pub leader: PdMemberId,
    /// All stores, tombstones included.
    pub stores: BTreeMap<StoreId, StoreFacts>,
}

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
    isolation_level: Option<String>,
    config: Option<Value>,
    critical: Option<BTreeMap<StoreId, u64>>,
    progress: BTreeMap<StoreId, Progress>,
    maintenance: Maintenance,
    unsafe_recovery: Option<bool>,
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
            isolation_level: self.isolation_level,
            critical: self.critical,
            progress: self.progress,
            config: self.config.map(Arc::new),
            maintenance: self.maintenance,
            unsafe_recovery: self.unsafe_recovery,
        }
    }
}

impl PdClient {
    /// Asks `members`, in this order, until one gives a whole answer through a leader. The error
    /// is a sentence that says what each of them answered.
    pub async fn look(&self, members: &[Authority], depth: Depth) -> Result<PdAnswer, String> {
        let mut failures = Vec::new();
        let looks = async {
            for member in members {
                match self.look_through(member, depth).await {
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

    async fn look_through(&self, member: &Authority, depth: Depth) -> Result<PdAnswer, PdError> {
        let membership = facts::membership(self.get(member, PdEndpoint::Members).await?)?;
        let (health, stores, evicting, regions, config) = tokio::join!(
            self.get::<Vec<wire::Health>>(member, PdEndpoint::Health),
            self.stores(member),
            self.evicting(member),
            self.regions(member),
            self.config_or_less(member, &membership),
        );
        let (health, stores) = (health?, stores?);
        // Before the first store registers every PD answers 406 for any scheduler's list.
        let evicting = if stores.is_some() { evicting? } else { BTreeSet::new() };
        let regions = regions.unwrap_or(0);
        let (config, replicate) = config;
        let members = facts::with_health(membership.members, &health);
        let mut answer = PdAnswer {
            through: member.clone(),
            cluster_id: membership.cluster_id,
            members,
            leader: membership.leader,
            bootstrapped: stores.is_some(),
            stores: stores.unwrap_or_default(),
            evicting,
            regions,
            max_replicas: replicate.as_ref().map(|answer| answer.max_replicas),
            location_labels: replicate
                .as_ref()
                .map(|answer| facts::location_labels(&answer.location_labels))
                .unwrap_or_default(),
            isolation_level: replicate.map(|answer| answer.isolation_level),
            config,
            replication: Replication::Unknown,
            fewest_peers: None,
            critical: None,
            progress: BTreeMap::new(),
            maintenance: Maintenance::Unsupported,
            unsafe_recovery: None,
        };
        if answer.bootstrapped {
            self.look_closer(member, depth, &mut answer).await;
        }
        Ok(answer)
    }

    /// What is asked only where the rest gives reason to, all at once: slow answers must not add up.
    async fn look_closer(&self, member: &Authority, depth: Depth, answer: &mut PdAnswer) {
        let stores = &answer.stores;
        // The scan over all regions is asked for only where its answer can mean something.
        let scan = answer.regions > 0;
        let few = scan && answer.max_replicas.is_some_and(|max| facts::live(stores) < max);
        let full = depth == Depth::Full;
        let (replication, fewest_peers, progress, unsafe_recovery, critical, maintenance) = tokio::join!(
            async { if scan { self.replication(member).await } else { Replication::Unknown } },
            async { if few { self.fewest_peers(member).await } else { None } },
            self.progress(member, stores),
            self.unsafe_recovery(member, stores),
            async { if full { self.critical(member, stores).await } else { None } },
            async { if full { self.maintenance(member).await } else { Maintenance::Unsupported } },
        );
        answer.replication = replication;
        answer.fewest_peers = fewest_peers;
        answer.progress = progress;
        answer.unsafe_recovery = unsafe_recovery;
        answer.critical = critical;
        answer.maintenance = maintenance;
    }

    /// The configuration and what it says about replication; the latter alone, where the former is
    /// not to be had.
    ///
    /// The leader itself is asked: from v8.5.5 on a member answers `GET /config` by itself, and a
    /// follower does so from what it read when the leader was elected.
    async fn config_or_less(
        &self,
        member: &Authority,
        membership: &Membership,
    ) -> (Option<Value>, Option<wire::Replicate>) {
        if let Some(leader) = facts::leader_address(membership)
            && let Ok(config) = self.get::<Value>(&leader, PdEndpoint::Config).await
            && let Some(section) = config.get("replication")
            && let Ok(replicate) = serde_json::from_value(section.clone())
        {
            return (Some(config), Some(replicate));
        }
        (None, self.get(member, PdEndpoint::Replicate).await.ok())
    }

    /// The configuration in force, from the leader.
    pub async fn config(&self, members: &[Authority]) -> Result<Value, PdError> {
        let mut last = PdError::Connect("no PD container runs".to_owned());
        for member in members {
            let membership = self.get(member, PdEndpoint::Members).await;
            match membership.and_then(facts::membership).map(|found| facts::leader_address(&found))
            {
                Ok(Some(leader)) => return self.get(&leader, PdEndpoint::Config).await,
                Ok(None) => last = PdError::Malformed("the leader has no client URL".to_owned()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Members with their health and all stores, through the first of `members` that gives a whole
    /// answer: what is read again right before something is taken away.
    pub async fn again(&self, members: &[Authority]) -> Result<Again, PdError> {
        let mut last = PdError::Connect("no PD container runs".to_owned());
        let looks = async {
            for member in members {
                match self.again_through(member).await {
                    Ok(again) => return Some(again),
                    Err(error) => last = error,
                }
            }
            None
        };
        match tokio::time::timeout(LOOK_TIME, looks).await {
            Ok(Some(again)) => Ok(again),
            Ok(None) => Err(last),
            Err(_) => Err(PdError::Slow(LOOK_TIME.as_secs())),
        }
    }

    async fn again_through(&self, member: &Authority) -> Result<Again, PdError> {
        let membership = facts::membership(self.get(member, PdEndpoint::Members).await?)?;
        let (health, stores) = tokio::join!(
            self.get::<Vec<wire::Health>>(member, PdEndpoint::Health),
            self.stores(member),
        );
        Ok(Again {
            cluster_id: membership.cluster_id,
            members: facts::with_health(membership.members, &health?),
            leader: membership.leader,
            stores: stores?.unwrap_or_default(),
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
}
