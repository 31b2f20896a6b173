//! How does a new member join? It asks etcd's own member service, which the real PD serves on its
//! client port and the stand-in passes on.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::server::Server;
use crate::proto::etcdserverpb as etcd;
use crate::proto::etcdserverpb::cluster_server::Cluster;

/// etcd's member service, passed on to the member's own etcd.
#[derive(Clone, Debug)]
pub struct MembershipService(pub Arc<Server>);

#[tonic::async_trait]
impl Cluster for MembershipService {
    async fn member_add(
        &self,
        request: Request<etcd::MemberAddRequest>,
    ) -> Result<Response<etcd::MemberAddResponse>, Status> {
        let urls = request.into_inner().peer_ur_ls;
        Ok(Response::new(self.0.etcd.add_member(urls).await?))
    }

    async fn member_remove(
        &self,
        request: Request<etcd::MemberRemoveRequest>,
    ) -> Result<Response<etcd::MemberRemoveResponse>, Status> {
        self.0.etcd.remove_member(request.into_inner().id).await?;
        Ok(Response::new(etcd::MemberRemoveResponse::default()))
    }

    async fn member_list(
        &self,
        _: Request<etcd::MemberListRequest>,
    ) -> Result<Response<etcd::MemberListResponse>, Status> {
        let members = self.0.local_members().await?;
        Ok(Response::new(etcd::MemberListResponse { header: None, members }))
    }
}
