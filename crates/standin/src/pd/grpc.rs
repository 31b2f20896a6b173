//! How do stores and clients talk to PD? By `pdpb` over gRPC. Only the leader answers what needs the
//! cluster; every member answers who the members are.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::clock;
use super::cluster::{Cluster, keys};
use super::etcd::{EtcdError, Write};
use super::lead::Lead;
use super::region::Region;
use super::registry::HeaderError;
use super::schedulers::Schedulers;
use super::server::Server;
use crate::proto::pdpb::pd_server::Pd;
use crate::proto::{metapb, pdpb as pb};
use pb::ErrorType;

type Answer<T> = Result<Response<T>, Status>;
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
        header: Option<pb::RequestHeader>,
        act: impl FnOnce(&mut Lead) -> T,
    ) -> Result<T, Status> {
        let given = header.unwrap_or_default().cluster_id;
        if given != self.0.cluster_id {
            let need = self.0.cluster_id;
            let text = format!("mismatch cluster id, need {need} but got {given}");
            return Err(Status::failed_precondition(text));
        }
        let mut lead = self.0.lead().await;
        let leading = lead.as_mut().ok_or_else(|| Status::unavailable("not leader"))?;
        let answer = act(leading);
        let committed = self.0.commit(&mut lead).await;
        committed.map_err(|refusal| Status::unavailable(refusal.message))?;
        Ok(answer)
    }

    /// As [`Self::leading`], on a bootstrapped cluster; else the header says `NOT_BOOTSTRAPPED`.
    async fn on_cluster<T>(
        &self,
        header: Option<pb::RequestHeader>,
        act: impl FnOnce(&mut Lead) -> Result<T, HeaderError>,
    ) -> Result<(Option<pb::ResponseHeader>, T), Status>
    where
        T: Default,
    {
        let guarded = |lead: &mut Lead| match lead.cluster {
            Some(_) => act(lead),
            None => Err((ErrorType::NotBootstrapped, "cluster is not bootstrapped".to_owned())),
        };
        Ok(self.split(self.leading(header, guarded).await?))
    }

    fn header(&self) -> pb::ResponseHeader {
        pb::ResponseHeader { cluster_id: self.0.cluster_id, error: None }
    }

    /// A header with an error, or without, and the answer or its default.
    fn split<T: Default>(&self, result: Result<T, HeaderError>) -> (Option<pb::ResponseHeader>, T) {
        match result {
            Ok(value) => (Some(self.header()), value),
            Err((kind, message)) => {
                let error = Some(pb::Error { r#type: kind.into(), message });
                let cluster_id = self.0.cluster_id;
                (Some(pb::ResponseHeader { cluster_id, error }), T::default())
            }
        }
    }

    async fn find_region(
        &self,
        header: Option<pb::RequestHeader>,
        find: impl FnOnce(&Cluster) -> Option<&Region>,
    ) -> Answer<pb::GetRegionResponse> {
        let found = |lead: &mut Lead| Ok(lead.cluster.as_ref().and_then(find).cloned());
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
}

/// The first store of a cluster brings the first region.
fn bootstrap(
    lead: &mut Lead,
    request: pb::BootstrapRequest,
    fresh: Schedulers,
) -> Result<(), HeaderError> {
    let invalid = |text: &str| (ErrorType::Unknown, text.to_owned());
    if lead.cluster.is_some() {
        let text = "cluster is already bootstrapped".to_owned();
        return Err((ErrorType::AlreadyBootstrapped, text));
    }
    let store = request.store.ok_or_else(|| invalid("missing store meta for bootstrap"))?;
    let region = request.region.ok_or_else(|| invalid("missing region meta for bootstrap"))?;
    if !region.start_key.is_empty() || !region.end_key.is_empty() || region.peers.len() != 1 {
        return Err(invalid("invalid first region"));
    }
    let now = clock::now_nanos();
    let mut cluster = Cluster::new(now, fresh);
    let mut writes: Vec<Write> =
        vec![(keys::BOOTSTRAPPED.into(), Some(now.to_string().into_bytes()))];
    writes.extend(cluster.put_store(store, &mut lead.settings)?);
    writes.extend(cluster.region_heartbeat(Region::from_meta(region)));
    lead.cluster = Some(cluster);
    lead.note(writes);
    Ok(())
}

/// One message of a store's heartbeat stream.
async fn region_beat(
    service: &PdService,
    beat: pb::RegionHeartbeatRequest,
    stream: &tokio::sync::mpsc::Sender<Result<pb::RegionHeartbeatResponse, Status>>,
) -> Result<(), Status> {
    let header = beat.header;
    let store = beat.leader.as_ref().map_or(0, |leader| leader.store_id);
    let act = |lead: &mut Lead| {
        let Some(cluster) = lead.cluster.as_mut() else { return Ok(()) };
        cluster.streams.insert(store, stream.clone());
        let region = Region::from_heartbeat(beat);
        let id = region.id();
        let writes = cluster.region_heartbeat(region);
        cluster.drive(id, &lead.settings, clock::now_nanos());
        lead.note(writes);
        Ok(())
    };
    let (header, ()) = service.on_cluster(header, act).await?;
    match header.and_then(|header| header.error) {
        None => Ok(()),
        Some(error) => Err(Status::failed_precondition(error.message)),
    }
}

#[tonic::async_trait]
impl Pd for PdService {
    type TsoStream = Streamed<pb::TsoResponse>;
    type RegionHeartbeatStream = Streamed<pb::RegionHeartbeatResponse>;

    async fn get_members(
        &self,
        _: Request<pb::GetMembersRequest>,
    ) -> Answer<pb::GetMembersResponse> {
        let members = self.0.members().await;
        let members = members.map_err(|EtcdError(text)| Status::unavailable(text))?;
        Ok(Response::new(pb::GetMembersResponse {
            header: Some(self.header()),
            members: members.all,
            leader: members.leader,
            etcd_leader: members.etcd_leader,
        }))
    }

    async fn get_cluster_info(
        &self,
        _: Request<pb::GetClusterInfoRequest>,
    ) -> Answer<pb::GetClusterInfoResponse> {
        let service_modes = vec![pb::ServiceMode::PdSvcMode.into()];
        let (header, tso_urls) = (Some(self.header()), Vec::new());
        Ok(Response::new(pb::GetClusterInfoResponse { header, service_modes, tso_urls }))
    }

    async fn tso(&self, request: Request<Streaming<pb::TsoRequest>>) -> Answer<Self::TsoStream> {
        let mut requests = request.into_inner();
        let service = self.clone();
        let (sender, receiver) = tokio::sync::mpsc::channel(STREAM_BUFFER);
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let (count, now) = (request.count.max(1), clock::now_nanos() / 1_000_000);
                let given =
                    service.leading(request.header, |lead| lead.timestamp(count, now)).await;
                let ended = given.is_err();
                let answer = given.map(|timestamp| pb::TsoResponse {
                    header: Some(service.header()),
                    count,
                    timestamp: Some(timestamp),
                });
                if sender.send(answer).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn bootstrap(
        &self,
        request: Request<pb::BootstrapRequest>,
    ) -> Answer<pb::BootstrapResponse> {
        let request = request.into_inner();
        let fresh = Schedulers::of_version(self.0.options.version);
        let act = |lead: &mut Lead| bootstrap(lead, request.clone(), fresh);
        let (header, ()) = self.split(self.leading(request.header, act).await?);
        Ok(Response::new(pb::BootstrapResponse { header }))
    }

    async fn is_bootstrapped(
        &self,
        request: Request<pb::IsBootstrappedRequest>,
    ) -> Answer<pb::IsBootstrappedResponse> {
        let header = request.into_inner().header;
        let bootstrapped = self.leading(header, |lead| lead.cluster.is_some()).await?;
        Ok(Response::new(pb::IsBootstrappedResponse { header: Some(self.header()), bootstrapped }))
    }

    async fn alloc_id(&self, request: Request<pb::AllocIdRequest>) -> Answer<pb::AllocIdResponse> {
        let id = self.leading(request.into_inner().header, Lead::allocate).await?;
        Ok(Response::new(pb::AllocIdResponse { header: Some(self.header()), id }))
    }

    async fn get_store(
        &self,
        request: Request<pb::GetStoreRequest>,
    ) -> Answer<pb::GetStoreResponse> {
        let request = request.into_inner();
        let id = request.store_id;
        let act = |lead: &mut Lead| {
            let store = lead.cluster.as_ref().and_then(|cluster| cluster.stores.get(&id));
            let missing = || (ErrorType::Unknown, format!("invalid store ID {id}, not found"));
            let store = store.ok_or_else(missing)?;
            Ok(Some((store.meta.clone(), store.stats)))
        };
        let (header, store) = self.on_cluster(request.header, act).await?;
        let (store, stats) = store.unzip();
        Ok(Response::new(pb::GetStoreResponse { header, store, stats }))
    }

    async fn put_store(
        &self,
        request: Request<pb::PutStoreRequest>,
    ) -> Answer<pb::PutStoreResponse> {
        let request = request.into_inner();
        let act = |lead: &mut Lead| {
            let missing = || (ErrorType::Unknown, "missing store meta".to_owned());
            let meta = request.store.ok_or_else(missing)?;
            let Some(cluster) = lead.cluster.as_mut() else { return Ok(()) };
            let writes = cluster.put_store(meta, &mut lead.settings)?;
            lead.note(writes);
            Ok(())
        };
        let (header, ()) = self.on_cluster(request.header, act).await?;
        Ok(Response::new(pb::PutStoreResponse { header }))
    }

    async fn get_all_stores(
        &self,
        request: Request<pb::GetAllStoresRequest>,
    ) -> Answer<pb::GetAllStoresResponse> {
        let request = request.into_inner();
        let without_tombstones = request.exclude_tombstone_stores;
        let act = |lead: &mut Lead| {
            let stores = lead.cluster.iter().flat_map(|cluster| cluster.stores.values());
            let stores = stores.map(|store| store.meta.clone()).filter(|meta| {
                !without_tombstones || meta.state() != metapb::StoreState::Tombstone
            });
            Ok(stores.collect::<Vec<_>>())
        };
        let (header, stores) = self.on_cluster(request.header, act).await?;
        Ok(Response::new(pb::GetAllStoresResponse { header, stores }))
    }

    async fn store_heartbeat(
        &self,
        request: Request<pb::StoreHeartbeatRequest>,
    ) -> Answer<pb::StoreHeartbeatResponse> {
        let request = request.into_inner();
        let stats = request.stats.unwrap_or_default();
        let act = |lead: &mut Lead| {
            let Some(cluster) = lead.cluster.as_mut() else { return Ok(String::new()) };
            let writes = cluster.store_heartbeat(stats, clock::now_nanos())?;
            lead.note(writes);
            Ok(lead.settings.cluster_version().to_owned())
        };
        let (header, cluster_version) = self.on_cluster(request.header, act).await?;
        Ok(Response::new(pb::StoreHeartbeatResponse { header, cluster_version }))
    }

    async fn region_heartbeat(
        &self,
        request: Request<Streaming<pb::RegionHeartbeatRequest>>,
    ) -> Answer<Self::RegionHeartbeatStream> {
        let mut beats = request.into_inner();
        let service = self.clone();
        let (sender, receiver) = tokio::sync::mpsc::channel(STREAM_BUFFER);
        tokio::spawn(async move {
            while let Some(Ok(beat)) = beats.next().await {
                if let Err(status) = region_beat(&service, beat, &sender).await {
                    drop(sender.send(Err(status)).await);
                    return;
                }
            }
        });
        let header = self.header();
        let answers = ReceiverStream::new(receiver).map(
            move |answer: Result<pb::RegionHeartbeatResponse, Status>| {
                let header = Some(header.clone());
                answer.map(|command| pb::RegionHeartbeatResponse { header, ..command })
            },
        );
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_region(
        &self,
        request: Request<pb::GetRegionRequest>,
    ) -> Answer<pb::GetRegionResponse> {
        let request = request.into_inner();
        let key = request.region_key;
        self.find_region(request.header, |cluster| cluster.regions.at(&key)).await
    }

    async fn get_prev_region(
        &self,
        request: Request<pb::GetRegionRequest>,
    ) -> Answer<pb::GetRegionResponse> {
        let request = request.into_inner();
        let key = request.region_key;
        self.find_region(request.header, |cluster| cluster.regions.before(&key)).await
    }

    async fn get_region_by_id(
        &self,
        request: Request<pb::GetRegionByIdRequest>,
    ) -> Answer<pb::GetRegionResponse> {
        let request = request.into_inner();
        let id = request.region_id;
        self.find_region(request.header, |cluster| cluster.regions.get(id)).await
    }

    async fn scan_regions(
        &self,
        request: Request<pb::ScanRegionsRequest>,
    ) -> Answer<pb::ScanRegionsResponse> {
        let request = request.into_inner();
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        let act = |lead: &mut Lead| {
            let Some(cluster) = lead.cluster.as_ref() else { return Ok(Vec::new()) };
            let found = cluster.regions.scan(&request.start_key, &request.end_key);
            Ok(found.into_iter().take(limit.unwrap_or(usize::MAX)).cloned().collect())
        };
        let (header, found) = self.on_cluster::<Vec<Region>>(request.header, act).await?;
        let regions = found.into_iter().map(|region| pb::Region {
            region: Some(region.meta),
            leader: region.leader,
            down_peers: region.down,
            pending_peers: region.pending,
        });
        let regions: Vec<pb::Region> = regions.collect();
        Ok(Response::new(pb::ScanRegionsResponse {
            header,
            region_metas: regions.iter().filter_map(|region| region.region.clone()).collect(),
            leaders: regions.iter().map(|r| r.leader.unwrap_or_default()).collect(),
            regions,
        }))
    }

    async fn ask_batch_split(
        &self,
        request: Request<pb::AskBatchSplitRequest>,
    ) -> Answer<pb::AskBatchSplitResponse> {
        let request = request.into_inner();
        let peers = request.region.map_or(0, |region| region.peers.len());
        let act = |lead: &mut Lead| {
            let split = |_| pb::SplitId {
                new_region_id: lead.allocate(),
                new_peer_ids: (0..peers).map(|_| lead.allocate()).collect(),
            };
            Ok((0..request.split_count).map(split).collect())
        };
        let (header, ids) = self.on_cluster(request.header, act).await?;
        Ok(Response::new(pb::AskBatchSplitResponse { header, ids }))
    }

    async fn report_batch_split(
        &self,
        request: Request<pb::ReportBatchSplitRequest>,
    ) -> Answer<pb::ReportBatchSplitResponse> {
        // The regions' own heartbeats carry what counts; as in PD, the report is only an early hint.
        let header = request.into_inner().header;
        let (header, ()) = self.on_cluster(header, |_| Ok(())).await?;
        Ok(Response::new(pb::ReportBatchSplitResponse { header }))
    }

    async fn update_gc_safe_point(
        &self,
        request: Request<pb::UpdateGcSafePointRequest>,
    ) -> Answer<pb::UpdateGcSafePointResponse> {
        let request = request.into_inner();
        let act = |lead: &mut Lead| Ok(lead.raise_gc_safe_point(request.safe_point));
        let (header, new_safe_point) = self.on_cluster(request.header, act).await?;
        Ok(Response::new(pb::UpdateGcSafePointResponse { header, new_safe_point }))
    }
}
