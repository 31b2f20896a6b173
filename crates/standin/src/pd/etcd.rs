//! How does the server talk to its etcd? Over gRPC on a Unix socket of its own, with the part of
//! etcd's API that it needs: reads, guarded transactions, members.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::proto::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use pb::request_op::Request as Op;

/// Longest wait for one answer of etcd, as PD's own request limit.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// A key-value pair as etcd returns it.
pub type Pair = (String, Vec<u8>);

/// One write of a transaction: the new value, or `None` to delete the key.
pub type Write = (String, Option<Vec<u8>>);

/// Why etcd did not do as asked: a status with its message, as PD passes it on.
type Result<T> = std::result::Result<T, Status>;

/// A client of one etcd member.
#[derive(Clone, Debug)]
pub struct Etcd {
    channel: Channel,
}

impl Etcd {
    /// The etcd that listens on `socket`; connects when first used, and again after a failure.
    pub fn on_socket(socket: &Path) -> Self {
        let path: PathBuf = socket.to_owned();
        let connect = tower::service_fn(move |_: http::Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost").timeout(REQUEST_LIMIT);
        Self { channel: endpoint.connect_with_connector_lazy(connect) }
    }

    /// The etcd API of another member at its client URL.
    pub async fn at_url(url: &str) -> Result<Self> {
        let failed = |error| Status::unavailable(format!("{url}: {error}"));
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(failed)?
            .connect_timeout(Duration::from_secs(3))
            .timeout(REQUEST_LIMIT);
        Ok(Self { channel: endpoint.connect().await.map_err(failed)? })
    }

    /// The value of `key`; waits for a quorum, so it proves one.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.range(key, None).await?.pop().map(|(_, value)| value))
    }

    /// Every pair whose key starts with `prefix`, in key order.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Pair>> {
        // Ours end in `/`, which `0` follows.
        self.range(prefix, Some(format!("{}0", prefix.trim_end_matches('/')).into_bytes())).await
    }

    async fn range(&self, key: &str, end: Option<Vec<u8>>) -> Result<Vec<Pair>> {
        let request = pb::RangeRequest {
            key: key.into(),
            range_end: end.unwrap_or_default(),
            ..pb::RangeRequest::default()
        };
        let mut client = KvClient::new(self.channel.clone()).max_decoding_message_size(256 << 20);
        let answer = client.range(request).await?.into_inner();
        let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
        Ok(answer.kvs.into_iter().map(|kv| (text(kv.key), kv.value)).collect())
    }

    /// Writes all of `writes`, or none and `false` when `key` has not the value `expected`.
    pub async fn write_while(
        &self,
        (key, expected): (&str, &[u8]),
        writes: &[Write],
    ) -> Result<bool> {
        let value = TargetUnion::Value(expected.to_vec());
        self.transact(vec![equal(key, CompareTarget::Value, value)], writes).await
    }

    /// Creates `key`, or `false` when it exists.
    pub async fn create(&self, key: &str, value: &[u8]) -> Result<bool> {
        let absent = equal(key, CompareTarget::Create, TargetUnion::CreateRevision(0));
        self.transact(vec![absent], &[(key.to_owned(), Some(value.to_vec()))]).await
    }

    /// Puts one key whatever was there.
    pub async fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.transact(Vec::new(), &[(key.to_owned(), Some(value.to_vec()))]).await.map(drop)
    }

    async fn transact(&self, compare: Vec<pb::Compare>, writes: &[Write]) -> Result<bool> {
        let success = writes.iter().map(write_op).collect();
        let request = pb::TxnRequest { compare, success, failure: Vec::new() };
        let answer = KvClient::new(self.channel.clone()).txn(request).await?;
        Ok(answer.into_inner().succeeded)
    }

    /// Members as this etcd itself knows them, ordered by id; needs no quorum.
    pub async fn members(&self) -> Result<Vec<pb::Member>> {
        let request = pb::MemberListRequest { linearizable: false };
        let answer = ClusterClient::new(self.channel.clone()).member_list(request).await?;
        let mut members = answer.into_inner().members;
        members.sort_by_key(|member| member.id);
        Ok(members)
    }

    /// Adds a member by its peer URLs.
    pub async fn add_member(&self, peer_urls: Vec<String>) -> Result<pb::MemberAddResponse> {
        let request = pb::MemberAddRequest { peer_ur_ls: peer_urls, is_learner: false };
        Ok(ClusterClient::new(self.channel.clone()).member_add(request).await?.into_inner())
    }

    /// Removes a member.
    pub async fn remove_member(&self, id: u64) -> Result<()> {
        let request = pb::MemberRemoveRequest { id };
        ClusterClient::new(self.channel.clone()).member_remove(request).await?;
        Ok(())
    }

    /// Own member id and the id of etcd's leader, 0 when there is none.
    pub async fn identity_and_leader(&self) -> Result<(u64, u64)> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        let status = client.status(pb::StatusRequest {}).await?.into_inner();
        Ok((status.header.unwrap_or_default().member_id, status.leader))
    }

    /// Moves etcd's leadership; only the leader can.
    pub async fn move_leader(&self, target: u64) -> Result<()> {
        let request = pb::MoveLeaderRequest { target_id: target };
        MaintenanceClient::new(self.channel.clone()).move_leader(request).await?;
        Ok(())
    }
}

fn equal(key: &str, target: CompareTarget, value: TargetUnion) -> pb::Compare {
    let (result, target) = (CompareResult::Equal.into(), target.into());
    pb::Compare { result, target, key: key.into(), target_union: Some(value) }
}

fn write_op((key, value): &Write) -> pb::RequestOp {
    let key = key.clone().into_bytes();
    let request = match value.clone() {
        Some(value) => Op::RequestPut(pb::PutRequest { key, value, lease: 0 }),
        None => Op::RequestDeleteRange(pb::DeleteRangeRequest { key, range_end: Vec::new() }),
    };
    pb::RequestOp { request: Some(request) }
}
