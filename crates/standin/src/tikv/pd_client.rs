//! How does a store reach PD, whichever member leads? It asks any member that it knows for the
//! leader, talks to that one, and asks again when it fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::log::{self, Level};
use crate::proto::metapb::{Region, Store};
use crate::proto::pdpb::pd_client::PdClient as Grpc;
use crate::proto::pdpb::{self, ErrorType, RequestHeader, ResponseHeader};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two rounds of asking; the key is TiKV's `pd.retry-interval`.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// Why PD did not do what was asked.
#[derive(Clone, Debug)]
pub enum PdError {
    /// No member answered, or none leads.
    Unreachable(String),
    /// The leader refused.
    Refused(ErrorType, String),
}

impl std::fmt::Display for PdError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "PD is unreachable: {reason}"),
            Self::Refused(_, message) => f.write_str(message),
        }
    }
}

/// An answer with the header that every answer of PD has.
type Headed<A> = Result<(Option<ResponseHeader>, A), Status>;

#[derive(Debug, Default)]
struct Known {
    /// Client URLs of all members ever seen, the configured ones first.
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

    /// Waits until some PD leads and returns the cluster id.
    pub async fn wait_for_cluster(&self) -> u64 {
        for attempt in 0u64.. {
            match self.leader().await {
                Ok((_, header)) => return header.cluster_id,
                Err(reason) if attempt % 10 == 0 => {
                    log::line(Level::Warn, &format!("waiting for PD: {reason}"));
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        0
    }

    /// A client to the leader and the header that requests carry.
    pub async fn leader(&self) -> Result<(Grpc<Channel>, RequestHeader), PdError> {
        let mut known = self.known.lock().await;
        if let Some(leader) = &known.leader {
            return Ok((leader.clone(), header(known.cluster_id)));
        }
        let mut reason = "no endpoint configured".to_owned();
        for member in known.members.clone() {
            match ask_member(&member).await {
                Ok((leader, members)) => {
                    if known.cluster_id != 0 && known.cluster_id != members.0 {
                        reason = format!("{member} is of cluster {}", members.0);
                        continue;
                    }
                    known.cluster_id = members.0;
                    let new = members.1.iter().map(|member| url(member));
                    let new: Vec<String> = new.filter(|m| !known.members.contains(m)).collect();
                    known.members.extend(new);
                    known.leader = Some(leader.clone());
                    return Ok((leader, header(known.cluster_id)));
                }
                Err(error) => reason = format!("{member}: {error}"),
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
        call: impl Fn(Grpc<Channel>, RequestHeader) -> F,
    ) -> Result<A, PdError>
    where
        F: Future<Output = Headed<A>>,
    {
        let mut failure = PdError::Unreachable(String::new());
        for attempt in 0..3 {
            if attempt > 0 {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            let (client, header) = match self.leader().await {
                Ok(found) => found,
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            match tokio::time::timeout(CALL_TIMEOUT, call(client, header)).await {
                Ok(Ok((header, answer))) => match header.and_then(|header| header.error) {
                    None => return Ok(answer),
                    Some(error) if error.r#type() == ErrorType::Ok => return Ok(answer),
                    Some(error) => return Err(PdError::Refused(error.r#type(), error.message)),
                },
                Ok(Err(status)) => failure = PdError::Unreachable(status.message().to_owned()),
                Err(_) => failure = PdError::Unreachable("timed out".to_owned()),
            }
            self.forget_leader().await;
        }
        Err(failure)
    }

    /// A new unique id.
    pub async fn alloc_id(&self) -> Result<u64, PdError> {
        self.ask(|mut pd, header| async move {
            let answer =
                pd.alloc_id(pdpb::AllocIdRequest { header: Some(header) }).await?.into_inner();
            Ok((answer.header, answer.id))
        })
        .await
    }

    /// Whether any store ever made the first region.
    pub async fn is_bootstrapped(&self) -> Result<bool, PdError> {
        self.ask(|mut pd, header| async move {
            let request = pdpb::IsBootstrappedRequest { header: Some(header) };
            let answer = pd.is_bootstrapped(request).await?.into_inner();
            Ok((answer.header, answer.bootstrapped))
        })
        .await
    }

    /// Makes `region` the cluster's first.
    pub async fn bootstrap(&self, store: &Store, region: &Region) -> Result<(), PdError> {
        self.ask(|mut pd, header| {
            let (store, region) = (Some(store.clone()), Some(region.clone()));
            async move {
                let request = pdpb::BootstrapRequest { header: Some(header), store, region };
                let answer = pd.bootstrap(request).await?.into_inner();
                Ok((answer.header, ()))
            }
        })
        .await
    }

    /// Registers this store.
    pub async fn put_store(&self, store: &Store) -> Result<(), PdError> {
        self.ask(|mut pd, header| {
            let store = Some(store.clone());
            async move {
                let request = pdpb::PutStoreRequest { header: Some(header), store };
                let answer = pd.put_store(request).await?.into_inner();
                Ok((answer.header, ()))
            }
        })
        .await
    }

    /// What PD knows of a store.
    pub async fn store(&self, store_id: u64) -> Result<Option<Store>, PdError> {
        self.ask(|mut pd, header| async move {
            let request = pdpb::GetStoreRequest { header: Some(header), store_id };
            let answer = pd.get_store(request).await?.into_inner();
            Ok((answer.header, answer.store))
        })
        .await
    }

    /// Says that this store lives.
    pub async fn store_heartbeat(&self, stats: pdpb::StoreStats) -> Result<(), PdError> {
        self.ask(|mut pd, header| {
            let stats = Some(stats);
            async move {
                let request = pdpb::StoreHeartbeatRequest {
                    header: Some(header),
                    stats,
                    ..pdpb::StoreHeartbeatRequest::default()
                };
                let answer = pd.store_heartbeat(request).await?.into_inner();
                Ok((answer.header, ()))
            }
        })
        .await
    }

    /// What PD knows of a region.
    pub async fn region(&self, region_id: u64) -> Result<Option<Region>, PdError> {
        self.ask(|mut pd, header| async move {
            let header = Some(header);
            let request = pdpb::GetRegionByIdRequest { header, region_id, need_buckets: false };
            let answer = pd.get_region_by_id(request).await?.into_inner();
            Ok((answer.header, answer.region))
        })
        .await
    }

    /// Ids for `count` new regions split from `region`.
    pub async fn ask_split(
        &self,
        region: &Region,
        count: u32,
    ) -> Result<Vec<pdpb::SplitId>, PdError> {
        self.ask(|mut pd, header| {
            let (header, region) = (Some(header), Some(region.clone()));
            async move {
                let request = pdpb::AskBatchSplitRequest { header, region, split_count: count };
                let answer = pd.ask_batch_split(request).await?.into_inner();
                Ok((answer.header, answer.ids))
            }
        })
        .await
    }

    /// Tells of a split, left to right.
    pub async fn report_split(&self, regions: &[Region]) -> Result<(), PdError> {
        self.ask(|mut pd, header| {
            let (header, regions) = (Some(header), regions.to_vec());
            async move {
                let request = pdpb::ReportBatchSplitRequest { header, regions };
                let answer = pd.report_batch_split(request).await?.into_inner();
                Ok((answer.header, ()))
            }
        })
        .await
    }
}

fn url(endpoint: &str) -> String {
    let bare = endpoint.trim().trim_end_matches('/');
    if bare.contains("://") { bare.to_owned() } else { format!("http://{bare}") }
}

fn header(cluster_id: u64) -> RequestHeader {
    RequestHeader { cluster_id, sender_id: 0 }
}

/// Connects to an address that may be gone by the next try.
pub async fn connect(url: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(3))
        .tcp_nodelay(true);
    endpoint.connect().await.map_err(|error| format!("cannot connect ({error:?})"))
}

/// Asks one member who leads; a client to the leader, the cluster id and all client URLs.
async fn ask_member(member: &str) -> Result<(Grpc<Channel>, (u64, Vec<String>)), String> {
    let mut asked = Grpc::new(connect(member).await?);
    let call = asked.get_members(pdpb::GetMembersRequest::default());
    let answer = tokio::time::timeout(CALL_TIMEOUT, call).await;
    let answer = answer.map_err(|_| "timed out")?.map_err(|status| status.message().to_owned())?;
    let members = answer.into_inner();
    let leader = members.leader.and_then(|leader| leader.client_urls.first().cloned());
    let leader = leader.ok_or("no PD leads")?;
    let client =
        if url(&leader) == member { asked } else { Grpc::new(connect(&url(&leader)).await?) };
    let urls = members.members.into_iter().flat_map(|member| member.client_urls).collect();
    Ok((client, (members.header.unwrap_or_default().cluster_id, urls)))
}
