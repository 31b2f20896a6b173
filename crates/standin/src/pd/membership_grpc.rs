//! How does a new member join? It asks etcd's own member service, which the real PD serves on its
//! client port and the stand-in passes on; and clients ask for the keyspace that always exists.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::etcd::EtcdError;
use super::server::Server;
use crate::proto::etcdserverpb as etcd;
use crate::proto::etcdserverpb::cluster_server::Cluster;
use crate::proto::keyspacepb as keyspaces;
use crate::proto::keyspacepb::keyspace_server::Keyspace;
use crate::proto::pdpb;

/// etcd's member service, passed on to the member's own etcd.
#[derive(Clone, Debug)]
pub struct MembershipService(pub Arc<Server>);

fn refused(EtcdError(text): EtcdError) -> Status {
    Status::unavailable(text)
}

#[tonic::async_trait]
impl Cluster for MembershipService {
    async fn member_add(
        &self,
        request: Request<etcd::MemberAddRequest>,
    ) -> Result<Response<etcd::MemberAddResponse>, Status> {
        let urls = request.into_inner().peer_ur_ls;
        Ok(Response::new(self.0.etcd.add_member(urls).await.map_err(refused)?))
    }

    async fn member_remove(
        &self,
        request: Request<etcd::MemberRemoveRequest>,
    ) -> Result<Response<etcd::MemberRemoveResponse>, Status> {
        self.0.etcd.remove_member(request.into_inner().id).await.map_err(refused)?;
        Ok(Response::new(etcd::MemberRemoveResponse::default()))
    }

    async fn member_list(
        &self,
        _: Request<etcd::MemberListRequest>,
    ) -> Result<Response<etcd::MemberListResponse>, Status> {
        let members = self.0.local_members().await.map_err(refused)?;
        Ok(Response::new(etcd::MemberListResponse { header: None, members }))
    }
}

/// Keyspaces: only the one named DEFAULT exists.
#[derive(Clone, Debug)]
pub struct KeyspaceService(pub Arc<Server>);

#[tonic::async_trait]
impl Keyspace for KeyspaceService {
    async fn load_keyspace(
        &self,
        request: Request<keyspaces::LoadKeyspaceRequest>,
    ) -> Result<Response<keyspaces::LoadKeyspaceResponse>, Status> {
        let name = request.into_inner().name;
        let cluster_id = self.0.cluster_id;
        let (error, keyspace) = if name == "DEFAULT" {
            let meta = keyspaces::KeyspaceMeta { name, ..keyspaces::KeyspaceMeta::default() };
            (None, Some(meta))
        } else {
            let r#type = pdpb::ErrorType::EntryNotFound.into();
            let message = "keyspace does not exist".to_owned();
            (Some(pdpb::Error { r#type, message }), None)
        };
        let header = Some(pdpb::ResponseHeader { cluster_id, error });
        Ok(Response::new(keyspaces::LoadKeyspaceResponse { header, keyspace }))
    }
}
