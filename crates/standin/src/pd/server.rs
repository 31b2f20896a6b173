//! What does one running member consist of? Its etcd, what it knows of the leader, and, while it
//! leads itself, the leader's state.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard, watch};
use tonic::Status;

use super::cluster::Cluster;
use super::etcd::{Etcd, Write};
use super::options::Options;
use super::refusal::Refusal;
use crate::proto::etcdserverpb;
use crate::proto::pdpb::{self, GetMembersResponse, ResponseHeader};
use crate::units;

/// The key of the cluster's id, outside every cluster's own prefix.
const CLUSTER_ID: &str = "/pd/cluster_id";

/// A running member.
#[derive(Debug)]
pub struct Server {
    /// How it was started.
    pub options: Options,
    /// Its own etcd.
    pub etcd: Etcd,
    /// The cluster's id.
    pub cluster_id: u64,
    /// The member's own record, which is the leader key's value while it leads.
    pub record: pdpb::Member,
    /// Seconds since the epoch.
    pub started: i64,
    /// Time between two looks at the states of stores.
    pub check_interval: Duration,
    /// The leader that this member believes in.
    pub leader: watch::Sender<Option<pdpb::Member>>,
    /// Set once the member is removed: it goes on answering, and on believing in the last leader.
    pub removed: AtomicBool,
    /// Set once this member has seen that a store bootstrapped the cluster.
    pub bootstrapped: AtomicBool,
    lead: AsyncMutex<Option<Cluster>>,
    members: Mutex<Vec<etcdserverpb::Member>>,
}

impl Server {
    /// A member over an etcd that has a quorum: finds or creates the cluster's id.
    pub async fn new(options: Options, etcd: Etcd) -> Result<Arc<Self>, Status> {
        let cluster_id = cluster_id(&etcd).await?;
        let (member_id, _) = etcd.identity_and_leader().await?;
        let split = |urls: &str| urls.split(',').map(str::to_owned).collect::<Vec<_>>();
        let record = pdpb::Member {
            name: options.name.clone(),
            member_id,
            peer_urls: split(&options.advertise_peer_urls),
            client_urls: split(&options.advertise_client_urls),
            ..pdpb::Member::default()
        };
        let interval = std::env::var("STANDIN_PD_CHECK_MS").ok().and_then(|ms| ms.parse().ok());
        let server = Self {
            etcd,
            cluster_id,
            record,
            started: units::now_nanos() / 1_000_000_000,
            check_interval: Duration::from_millis(interval.unwrap_or(10_000)),
            leader: watch::channel(None).0,
            removed: AtomicBool::new(false),
            bootstrapped: AtomicBool::new(false),
            lead: AsyncMutex::new(None),
            members: Mutex::new(Vec::new()),
            options,
        };
        let facts = format!("{}member/{member_id}/", server.prefix());
        let version = server.options.version.to_string();
        server.etcd.put(&format!("{facts}binary_version"), version.as_bytes()).await?;
        Ok(Arc::new(server))
    }

    /// Where the cluster's keys begin.
    pub fn prefix(&self) -> String {
        format!("/pd/{}/", self.cluster_id)
    }

    /// The key that the leader holds.
    pub fn leader_key(&self) -> String {
        format!("{}leader", self.prefix())
    }

    /// The leader key's value while this member leads.
    pub fn leader_value(&self) -> Vec<u8> {
        self.record.encode_to_vec()
    }

    /// Writes as long as this member leads; `false` when it does not.
    pub async fn write_while_leading(&self, writes: &[Write]) -> Result<bool, Status> {
        self.etcd.write_while((&self.leader_key(), &self.leader_value()), writes).await
    }

    /// The leader's state, `None` inside while another member leads.
    pub async fn lead(&self) -> MutexGuard<'_, Option<Cluster>> {
        self.lead.lock().await
    }

    /// Persists what the leader noted. When that fails the member leads no longer: nothing that it
    /// holds in memory may be answered from any more.
    pub async fn commit(&self, lead: &mut Option<Cluster>) -> Result<(), Refusal> {
        let Some(leading) = lead.as_mut() else { return Ok(()) };
        let failure = match leading.commit(self).await {
            Ok(true) => return Ok(()),
            Ok(false) => "leader key is not held any more".to_owned(),
            Err(status) => status.message().to_owned(),
        };
        *lead = None;
        log::info!("stepping down: {failure}");
        Err(Refusal::internal(format!(
            "[PD:etcd:ErrEtcdTxnInternal]internal etcd transaction error occurred: {failure}"
        )))
    }

    /// Whether this member leads now.
    pub async fn is_leader(&self) -> bool {
        self.lead.lock().await.is_some()
    }

    /// Members as the own etcd lists them; the last known list once that is gone.
    pub async fn local_members(&self) -> Result<Vec<etcdserverpb::Member>, Status> {
        match self.etcd.members().await {
            Ok(members) => {
                if let Ok(mut known) = self.members.lock() {
                    known.clone_from(&members);
                }
                Ok(members)
            }
            Err(error) if self.removed.load(Ordering::SeqCst) => {
                self.members.lock().map(|known| known.clone()).map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    /// Members with what PD knows of each, and the leaders among them.
    pub async fn members(&self) -> Result<GetMembersResponse, Status> {
        let listed = self.local_members().await?;
        let facts = self.etcd.list(&format!("{}member/", self.prefix())).await?;
        let version = |id: u64| {
            let key = format!("{}member/{id}/binary_version", self.prefix());
            let found = facts.iter().find(|(known, _)| *known == key);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let all: Vec<pdpb::Member> = listed
            .into_iter()
            .map(|member| {
                let version: String = version(member.id);
                let known = !version.is_empty();
                pdpb::Member {
                    deploy_path: if known { "/".into() } else { String::new() },
                    git_hash: if known { GIT_HASH.into() } else { String::new() },
                    binary_version: version,
                    name: member.name,
                    member_id: member.id,
                    peer_urls: member.peer_ur_ls,
                    client_urls: member.client_ur_ls,
                    ..pdpb::Member::default()
                }
            })
            .collect();
        let leader = self.leader.borrow().as_ref().map(|leader| leader.member_id);
        let (_, etcd_leader) = self.etcd.identity_and_leader().await?;
        let find = |id: u64| all.iter().find(|member| member.member_id == id).cloned();
        Ok(GetMembersResponse {
            header: Some(ResponseHeader { cluster_id: self.cluster_id, error: None }),
            leader: leader.and_then(find),
            etcd_leader: find(etcd_leader),
            members: all,
        })
    }
}

/// What a stand-in says where PD says which commit it was built from: not TiKV's PD.
pub const GIT_HASH: &str = "standin-not-tikv-pd";

/// The cluster's id, created exactly once: seconds in the upper half, as PD does. Below are the
/// nanoseconds, where PD has chance.
async fn cluster_id(etcd: &Etcd) -> Result<u64, Status> {
    let now = units::now_nanos().unsigned_abs();
    let wanted = ((now / 1_000_000_000) << 32) | (now % 1_000_000_000);
    etcd.create(CLUSTER_ID, wanted.to_string().as_bytes()).await?;
    let text = etcd.get(CLUSTER_ID).await?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.parse().map_err(|_| Status::data_loss(format!("cluster id {text:?} is unreadable")))
}
