//! Who are the members, who leads, and how is that changed? Membership is etcd's; PD's leader
//! follows etcd's.

use http::{Method, StatusCode};

use super::{Result, said, shown};
use crate::pd::refusal::Refusal;
use crate::pd::server::Server;
use crate::pd::shown::without_zeros;
use crate::port::Ask;
use crate::proto::etcdserverpb;

/// Answers `/members` and `/leader`; `None` for everything else.
pub(super) async fn answer(server: &Server, ask: &Ask, route: &[&str]) -> Option<Result> {
    Some(match (&ask.method, route) {
        (&Method::GET, ["members"]) => {
            server.members().await.map_or_else(|e| Err(e.into()), |all| shown(&without_zeros(&all)))
        }
        (&Method::DELETE, ["members", "name", name]) => {
            remove(server, named(server, name).await.map(|member| member.id), name).await
        }
        (&Method::DELETE, ["members", "id", id]) => remove(server, super::id(id), id).await,
        (&Method::GET, ["leader"]) => leader(server),
        (&Method::POST, ["leader", "transfer", name]) => transfer(server, name).await,
        _ => return None,
    })
}

fn leader(server: &Server) -> Result {
    let absent = || Refusal::internal("[PD:server:ErrLeaderNil]leader is nil");
    shown(&without_zeros(server.leader.borrow().as_ref().ok_or_else(absent)?))
}

async fn named(server: &Server, name: &str) -> Result<etcdserverpb::Member> {
    let members = server.local_members().await?;
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, format!("not found, pd: {name}"));
    members.into_iter().find(|member| member.name == name).ok_or_else(unknown)
}

/// Drops the member's facts under the leader's guard, then the member.
async fn remove(server: &Server, id: Result<u64>, name: &str) -> Result {
    let id = id.map_err(|refusal| Refusal { as_object: false, ..refusal })?;
    let gone = [(format!("{}member/{id}/binary_version", server.prefix()), None)];
    if !server.write_while_leading(&gone).await? {
        return Err(Refusal::internal("[PD:etcd:ErrEtcdTxnConflict]etcd transaction failed"));
    }
    let removed = server.etcd.remove_member(id).await;
    removed.map_err(|error| {
        // PD says what etcd said, and once more.
        Refusal::internal(format!("[PD:etcd:ErrEtcdMemberRemove]{0}: {0}", error.message()))
    })?;
    said(&format!("removed, pd: {name}"))
}

/// Moves etcd's leadership to a listed member, whatever its health; PD's follows.
async fn transfer(server: &Server, name: &str) -> Result {
    let unknown = |_| Refusal::internal("no valid pd to transfer etcd leader");
    let member = named(server, name).await.map_err(unknown)?;
    if member.id != server.record.member_id {
        server.etcd.move_leader(member.id).await?;
    }
    said("The transfer command is submitted.")
}
