//! How do stores and clients talk to PD? By `pdpb` over gRPC. Only the leader answers what needs the
//! cluster; every member answers who the members are.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::cluster::Cluster;
use super::region::Region;
use super::registry::HeaderError;
use super::server::Server;
use crate::proto::etcdserverpb::{self as etcd, cluster_server::Cluster as ClusterService};
use crate::proto::pdpb::pd_server::Pd;
use crate::proto::{metapb, pdpb as pb};
use crate::units;
use pb::ErrorType;

type Ask<T> = Request<T>;
type Answer<T> = Result<Response<T>, Status>;
type Header = Option<pb::RequestHeader>;
type Headed<T> = Result<(Option<pb::ResponseHeader>, T), Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Commands that wait for a store to read them; more are sent again later.
const STREAM_BUFFER: usize = 256;

/// The gRPC service of one member.
#[derive(Clone, Debug)]
pub struct PdService(pub Arc<Server>);

impl PdService {
    /// Does something as the leader, and answers only when what changed is persisted.
    async fn leading<T>(
        &self,
        header: Header,
        act: impl FnOnce(&mut Cluster) -> T,
    ) -> Result<T, Status> {
        let (need, given) = (self.0.cluster_id, header.unwrap_or_default().cluster_id);
        if given != need {
            let text = format!("mismatch cluster id, need {need} but got {given}");
            return Err(Status::failed_precondition(text));
        }
        let mut lead = self.0.lead().await;
        let answer = act(lead.as_mut().ok_or_else(|| Status::unavailable("not leader"))?);
        let committed = self.0.commit(&mut lead).await;
        committed.map_err(|refusal| Status::unavailable(refusal.message))?;
        Ok(answer)
    }

    /// As [`Self::leading`], on a bootstrapped cluster; else the header says `NOT_BOOTSTRAPPED`.
    async fn on_cluster<T: Default>(
        &self,
        header: Header,
        act: impl FnOnce(&mut Cluster) -> Result<T, HeaderError>,
    ) -> Headed<T> {
        let absent = |_| (ErrorType::NotBootstrapped, "cluster is not bootstrapped".to_owned());
        let guarded = |cluster: &mut Cluster| act(cluster.bootstrapped().map_err(absent)?);
        Ok(self.split(self.leading(header, guarded).await?))
    }

    fn header(&self) -> pb::ResponseHeader {
        pb::ResponseHeader { cluster_id: self.0.cluster_id, error: None }
    }

    /// A header with an error, or without, and the answer or its default.
    fn split<T: Default>(&self, result: Result<T, HeaderError>) -> (Option<pb::ResponseHeader>, T) {
        let cluster_id = self.0.cluster_id;
        let (error, value) = match result {
            Ok(value) => (None, value),
            Err((kind, message)) => {
                (Some(pb::Error { r#type: kind.into(), message }), T::default())
            }
        };
        (Some(pb::ResponseHeader { cluster_id, error }), value)
    }

    async fn find_region(
        &self,
        header: Header,
        find: impl FnOnce(&Cluster) -> Option<&Region>,
    ) -> Answer<pb::GetRegionResponse> {
        let found = |cluster: &mut Cluster| Ok(find(cluster).cloned());
        let (header, region) = self.on_cluster(header, found).await?;
        let region = region.map(|region| pb::GetRegionResponse {
            header: None,
            region: Some(region.meta),
            leader: region.leader,
            down_peers: region.down,
            pending_peers: region.pending,
        });
        Ok(Response::new(pb::GetRegionResponse { header, ..region.unwrap_or_default() }))
    }

    /// One message of a store's heartbeat stream.
    async fn region_beat(
        &self,
        beat: pb::RegionHeartbeatRequest,
        stream: &Sender<Result<pb::RegionHeartbeatResponse, Status>>,
    ) -> Result<(), Status> {
        let header = beat.header;
        let store = beat.leader.as_ref().map_or(0, |leader| leader.store_id);
        let act = |cluster: &mut Cluster| {
            cluster.streams.insert(store, stream.clone());
            let region = Region::from_heartbeat(beat);
            let id = region.id();
            cluster.region_heartbeat(region);
            cluster.drive(id, units::now_nanos());
            Ok(())
        };
        let (header, ()) = self.on_cluster(header, act).await?;
        let error = header.and_then(|header| header.error);
        error.map_or(Ok(()), |error| Err(Status::failed_precondition(error.message)))
    }
}

fn unknown(message: impl Into<String>) -> HeaderError {
    (ErrorType::Unknown, message.into())
}

/// The first store of a cluster brings the first region.
fn bootstrap(
    cluster: &mut Cluster,
    store: Option<metapb::Store>,
    region: Option<metapb::Region>,
) -> Result<(), HeaderError> {
    if cluster.bootstrapped_at.is_some() {
        let text = "cluster is already bootstrapped".to_owned();
        return Err((ErrorType::AlreadyBootstrapped, text));
    }
    let store = store.ok_or_else(|| unknown("missing store meta for bootstrap"))?;
    let region = region.ok_or_else(|| unknown("missing region meta for bootstrap"))?;
    if !region.start_key.is_empty() || !region.end_key.is_empty() || region.peers.len() != 1 {
        return Err(unknown("invalid first region"));
    }
    cluster.put_store(store)?;
    cluster.region_heartbeat(Region::from_meta(region));
    cluster.bootstrapped_at = Some(units::now_nanos());
    Ok(())
}

#[tonic::async_trait]
impl Pd for PdService {
    type RegionHeartbeatStream = Streamed<pb::RegionHeartbeatResponse>;

    async fn get_members(&self, _: Ask<pb::GetMembersRequest>) -> Answer<pb::GetMembersResponse> {
        Ok(Response::new(self.0.members().await?))
    }

    async fn bootstrap(&self, ask: Ask<pb::BootstrapRequest>) -> Answer<pb::BootstrapResponse> {
        let pb::BootstrapRequest { header, store, region } = ask.into_inner();
        let done = self.leading(header, |cluster| bootstrap(cluster, store, region)).await?;
        let (header, ()) = self.split(done);
        Ok(Response::new(pb::BootstrapResponse { header }))
    }

    async fn is_bootstrapped(
        &self,
        ask: Ask<pb::IsBootstrappedRequest>,
    ) -> Answer<pb::IsBootstrappedResponse> {
        let looked =
            self.leading(ask.into_inner().header, |cluster| cluster.bootstrapped_at.is_some());
        let (bootstrapped, header) = (looked.await?, Some(self.header()));
        Ok(Response::new(pb::IsBootstrappedResponse { header, bootstrapped }))
    }

    async fn alloc_id(&self, ask: Ask<pb::AllocIdRequest>) -> Answer<pb::AllocIdResponse> {
        let id = self.leading(ask.into_inner().header, Cluster::allocate).await?;
        Ok(Response::new(pb::AllocIdResponse { header: Some(self.header()), id }))
    }

    async fn get_store(&self, ask: Ask<pb::GetStoreRequest>) -> Answer<pb::GetStoreResponse> {
        let pb::GetStoreRequest { header, store_id: id } = ask.into_inner();
        let act = |cluster: &mut Cluster| {
            let missing = || unknown(format!("invalid store ID {id}, not found"));
            let store = cluster.stores.get(&id).ok_or_else(missing)?;
            Ok(Some((store.meta.clone(), store.stats)))
        };
        let (header, store) = self.on_cluster(header, act).await?;
        let (store, stats) = store.unzip();
        Ok(Response::new(pb::GetStoreResponse { header, store, stats }))
    }

    async fn put_store(&self, ask: Ask<pb::PutStoreRequest>) -> Answer<pb::PutStoreResponse> {
        let pb::PutStoreRequest { header, store } = ask.into_inner();
        let act = |cluster: &mut Cluster| {
            let meta = store.ok_or_else(|| unknown("missing store meta"))?;
            cluster.put_store(meta)
        };
        let (header, ()) = self.on_cluster(header, act).await?;
        Ok(Response::new(pb::PutStoreResponse { header }))
    }

    async fn store_heartbeat(
        &self,
        ask: Ask<pb::StoreHeartbeatRequest>,
    ) -> Answer<pb::StoreHeartbeatResponse> {
        let pb::StoreHeartbeatRequest { header, stats, .. } = ask.into_inner();
        let act = |cluster: &mut Cluster| {
            let stats = stats.unwrap_or_default();
            cluster.store_heartbeat(stats, units::now_nanos())?;
            Ok(cluster.settings.cluster_version().to_owned())
        };
        let (header, cluster_version) = self.on_cluster(header, act).await?;
        Ok(Response::new(pb::StoreHeartbeatResponse { header, cluster_version }))
    }

    async fn region_heartbeat(
        &self,
        ask: Ask<Streaming<pb::RegionHeartbeatRequest>>,
    ) -> Answer<Self::RegionHeartbeatStream> {
        let mut beats = ask.into_inner();
        let service = self.clone();
        let (sender, receiver) = tokio::sync::mpsc::channel(STREAM_BUFFER);
        tokio::spawn(async move {
            while let Some(Ok(beat)) = beats.next().await {
                if let Err(status) = service.region_beat(beat, &sender).await {
                    drop(sender.send(Err(status)).await);
                    return;
                }
            }
        });
        let header = Some(self.header());
        let answers = ReceiverStream::new(receiver).map(move |answer| {
            let header = header.clone();
            answer.map(|command| pb::RegionHeartbeatResponse { header, ..command })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_region(&self, ask: Ask<pb::GetRegionRequest>) -> Answer<pb::GetRegionResponse> {
        let pb::GetRegionRequest { header, region_key, .. } = ask.into_inner();
        self.find_region(header, |cluster| cluster.regions.at(&region_key)).await
    }

    async fn get_region_by_id(
        &self,
        ask: Ask<pb::GetRegionByIdRequest>,
    ) -> Answer<pb::GetRegionResponse> {
        let pb::GetRegionByIdRequest { header, region_id, .. } = ask.into_inner();
        self.find_region(header, |cluster| cluster.regions.get(region_id)).await
    }
}

/// How a new member joins: by etcd's own member service, which the real PD serves on its client port
/// and the stand-in passes on to the member's own etcd.
#[derive(Clone, Debug)]
pub struct MembershipService(pub Arc<Server>);

#[tonic::async_trait]
impl ClusterService for MembershipService {
    async fn member_add(
        &self,
        request: Ask<etcd::MemberAddRequest>,
    ) -> Answer<etcd::MemberAddResponse> {
        let urls = request.into_inner().peer_ur_ls;
        Ok(Response::new(self.0.etcd.add_member(urls).await?))
    }

    async fn member_remove(
        &self,
        request: Ask<etcd::MemberRemoveRequest>,
    ) -> Answer<etcd::MemberRemoveResponse> {
        self.0.etcd.remove_member(request.into_inner().id).await?;
        Ok(Response::new(etcd::MemberRemoveResponse::default()))
    }

    async fn member_list(
        &self,
        _: Ask<etcd::MemberListRequest>,
    ) -> Answer<etcd::MemberListResponse> {
        let members = self.0.local_members().await?;
        Ok(Response::new(etcd::MemberListResponse { header: None, members }))
    }
}
