//! How does a store reach PD, whichever member leads? It asks any member that it knows for the
//! leader, talks to that one, and asks again when it fails.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::Mutex;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::proto::metapb::{Region, Store};
use crate::proto::pdpb::pd_client::PdClient as Grpc;
use crate::proto::pdpb::{self as pb, ErrorType, RequestHeader, ResponseHeader};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// PD is asked this often whether it lives, and must say so in [`CALL_TIMEOUT`].
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two rounds of asking; the key is TiKV's `pd.retry-interval`.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// Why PD did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PdError {
    /// No member answered, or none leads.
    #[error("PD is unreachable: {0}")]
    Unreachable(String),
    /// The leader refused.
    #[error("{1}")]
    Refused(ErrorType, String),
}

/// An answer with the header that every answer of PD has.
type Headed<A> = Result<(Option<ResponseHeader>, A), Status>;

#[derive(Debug, Default)]
struct Known {
    /// Client URLs of all members ever seen.
    members: Vec<String>,
    leader: Option<Grpc<Channel>>,
    cluster_id: u64,
}

/// The way to PD; clones share it.
#[derive(Clone, Debug)]
pub struct Pd {
    known: Arc<Mutex<Known>>,
}

impl Pd {
    /// Knows `endpoints` (`host:port`, with or without scheme) at first.
    pub fn new(endpoints: &[String]) -> Self {
        let members = endpoints.iter().map(|endpoint| url(endpoint)).collect();
        Self { known: Arc::new(Mutex::new(Known { members, ..Known::default() })) }
    }

    /// A client to the leader and the header that requests carry.
    pub async fn leader(&self) -> Result<(Grpc<Channel>, RequestHeader), PdError> {
        let mut known = self.known.lock().await;
        let header = |cluster_id| RequestHeader { cluster_id, sender_id: 0 };
        if let Some(leader) = &known.leader {
            return Ok((leader.clone(), header(known.cluster_id)));
        }
        let mut reason = "no endpoint configured".to_owned();
        for member in known.members.clone() {
            match ask_member(&member).await {
                Ok((_, id, _)) if known.cluster_id != 0 && known.cluster_id != id => {
                    reason = format!("{member} is of cluster {id}");
                }
                Ok((leader, cluster_id, members)) => {
                    known.cluster_id = cluster_id;
                    known.members.extend(members.iter().map(|member| url(member)));
                    known.members.sort_unstable();
                    known.members.dedup();
                    known.leader = Some(leader.clone());
                    return Ok((leader, header(cluster_id)));
                }
                Err(error) => reason = format!("{member}: {error:#}"),
            }
        }
        Err(PdError::Unreachable(reason))
    }

    /// Forgets who leads, so that the next call asks.
    pub async fn forget_leader(&self) {
        self.known.lock().await.leader = None;
    }

    /// Asks the leader, and once more the new one when it does not answer.
    async fn ask<A, F>(
        &self,
        call: impl Fn(Grpc<Channel>, Option<RequestHeader>) -> F,
    ) -> Result<A, PdError>
    where
        F: Future<Output = Headed<A>>,
    {
        let mut failure = PdError::Unreachable(String::new());
        for attempt in 0..3 {
            if attempt > 0 {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            let asked = match self.leader().await {
                Ok((client, header)) => {
                    tokio::time::timeout(CALL_TIMEOUT, call(client, Some(header))).await
                }
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            failure = match asked {
                Ok(Ok((header, answer))) => match header.and_then(|header| header.error) {
                    Some(error) => return Err(PdError::Refused(error.r#type(), error.message)),
                    None => return Ok(answer),
                },
                Ok(Err(status)) => PdError::Unreachable(status.message().to_owned()),
                Err(_) => PdError::Unreachable("timed out".to_owned()),
            };
            self.forget_leader().await;
        }
        Err(failure)
    }

    /// Waits while PD is unreachable; an answer that refuses is an error.
    pub async fn patiently<A, F>(&self, what: &str, call: impl Fn() -> F) -> Result<A>
    where
        F: Future<Output = Result<A, PdError>>,
    {
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(PdError::Refused(_, message)) => bail!("{what}: {message}"),
                Err(error) => log::warn!("{what}: {error}"),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// A new unique id.
    pub async fn alloc_id(&self) -> Result<u64, PdError> {
        self.ask(|mut pd, header| async move {
            let answer = pd.alloc_id(pb::AllocIdRequest { header }).await?.into_inner();
            Ok((answer.header, answer.id))
        })
        .await
    }

    /// Whether any store ever made the first region.
    pub async fn is_bootstrapped(&self) -> Result<bool, PdError> {
        self.ask(|mut pd, header| async move {
            let request = pb::IsBootstrappedRequest { header };
            let answer = pd.is_bootstrapped(request).await?.into_inner();
            Ok((answer.header, answer.bootstrapped))
        })
        .await
    }

    /// Makes `region` the cluster's first.
    pub async fn bootstrap(&self, store: &Store, region: &Region) -> Result<(), PdError> {
        self.ask(|mut pd, header| {
            let (store, region) = (Some(store.clone()), Some(region.clone()));
            let request = pb::BootstrapRequest { header, store, region };
            async move { Ok((pd.bootstrap(request).await?.into_inner().header, ())) }
        })
        .await
    }

    /// Registers this store.
    pub async fn put_store(&self, store: &Store) -> Result<(), PdError> {
        self.ask(|mut pd, header| {
            let request = pb::PutStoreRequest { header, store: Some(store.clone()) };
            async move { Ok((pd.put_store(request).await?.into_inner().header, ())) }
        })
        .await
    }

    /// What PD knows of a store.
    pub async fn store(&self, store_id: u64) -> Result<Option<Store>, PdError> {
        self.ask(|mut pd, header| async move {
            let request = pb::GetStoreRequest { header, store_id };
            let answer = pd.get_store(request).await?.into_inner();
            Ok((answer.header, answer.store))
        })
        .await
    }

    /// Says that this store lives.
    pub async fn store_heartbeat(&self, stats: pb::StoreStats) -> Result<(), PdError> {
        self.ask(|mut pd, header| async move {
            let (stats, store_report) = (Some(stats), None);
            let request = pb::StoreHeartbeatRequest { header, stats, store_report };
            Ok((pd.store_heartbeat(request).await?.into_inner().header, ()))
        })
        .await
    }

    /// What PD knows of a region.
    pub async fn region(&self, region_id: u64) -> Result<Option<Region>, PdError> {
        self.ask(|mut pd, header| async move {
            let request = pb::GetRegionByIdRequest { header, region_id, need_buckets: false };
            let answer = pd.get_region_by_id(request).await?.into_inner();
            Ok((answer.header, answer.region))
        })
        .await
    }
}

fn url(endpoint: &str) -> String {
    let bare = endpoint.trim().trim_end_matches('/');
    if bare.contains("://") { bare.to_owned() } else { format!("http://{bare}") }
}

/// Connects to an address that may be gone by the next try, and whose name may mean another one by
/// then.
///
/// The other end is asked `every` so often whether it lives, and must say so `within` that time. A
/// channel whose connection ends makes another before the next call, to the address of that moment,
/// which may be that of a pod that is just gone: without a limit that call would wait for minutes.
pub async fn connect(url: &str, every: Duration, within: Duration) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(every)
        .keep_alive_timeout(within)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    // The time for the name counts too.
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await;
    connected.context("timed out")?.with_context(|| format!("cannot connect to {url}"))
}

/// Asks one member who leads; a client to the leader, the cluster id and all client URLs.
async fn ask_member(member: &str) -> Result<(Grpc<Channel>, u64, Vec<String>)> {
    let connect = |url| connect(url, KEEP_ALIVE, CALL_TIMEOUT);
    let mut asked = Grpc::new(connect(member).await?);
    let call = asked.get_members(pb::GetMembersRequest::default());
    let members = tokio::time::timeout(CALL_TIMEOUT, call).await??.into_inner();
    let leader = members.leader.and_then(|leader| leader.client_urls.first().cloned());
    let leader = url(&leader.context("no PD leads")?);
    let client = if leader == member { asked } else { Grpc::new(connect(&leader).await?) };
    let urls = members.members.into_iter().flat_map(|member| member.client_urls).collect();
    Ok((client, members.header.unwrap_or_default().cluster_id, urls))
}
