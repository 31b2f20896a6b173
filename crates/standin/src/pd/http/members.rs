//! Who are the members, who leads, and how is that changed? Membership is etcd's; PD's leader
//! follows etcd's.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Ask};
use crate::pd::etcd::EtcdError;
use crate::pd::refusal::Refusal;
use crate::pd::server::{LeaderRecord, Server};
use crate::pd::shown::without_zeros;
use crate::proto::pdpb::Member;

type Result = std::result::Result<Answer, Refusal>;

/// Answers `/members` and `/leader`; `None` for everything else.
pub(super) async fn answer(server: &Server, ask: &Ask, route: &[&str]) -> Option<Result> {
    Some(match (&ask.method, route) {
        (&Method::GET, ["members"]) => list(server).await,
        (&Method::DELETE, ["members", "name", name]) => delete_by_name(server, name).await,
        (&Method::DELETE, ["members", "id", id]) => delete_by_id(server, id).await,
        (&Method::POST, ["members", "name", name]) => set_priority(server, ask, name).await,
        (&Method::GET, ["leader"]) => Ok(leader(server)),
        (&Method::POST, ["leader", "transfer", name]) => transfer(server, name).await,
        (&Method::POST, ["leader", "resign"]) => resign(server).await,
        _ => return None,
    })
}

fn refused(EtcdError(text): EtcdError) -> Refusal {
    Refusal::internal(text)
}

async fn list(server: &Server) -> Result {
    let members = server.members().await.map_err(refused)?;
    let one = |member: Option<Member>| member.as_ref().map_or(Value::Null, show);
    Ok(Answer::json(&without_zeros([
        ("header", json!({"cluster_id": server.cluster_id})),
        ("members", members.all.iter().map(show).collect::<Vec<_>>().into()),
        ("leader", one(members.leader)),
        ("etcd_leader", one(members.etcd_leader)),
    ])))
}

/// A member as JSON; one that has not started has no name.
fn show(member: &Member) -> Value {
    let member = member.clone();
    without_zeros([
        ("name", member.name.into()),
        ("member_id", member.member_id.into()),
        ("peer_urls", member.peer_urls.into()),
        ("client_urls", member.client_urls.into()),
        ("leader_priority", member.leader_priority.into()),
        ("deploy_path", member.deploy_path.into()),
        ("binary_version", member.binary_version.into()),
        ("git_hash", member.git_hash.into()),
    ])
}

fn leader(server: &Server) -> Answer {
    match server.leader.borrow().as_ref() {
        Some(leader) => Answer::json(&show(&Member {
            name: leader.name.clone(),
            member_id: leader.member_id,
            peer_urls: leader.peer_urls.clone(),
            client_urls: leader.client_urls.clone(),
            ..Member::default()
        })),
        None => Answer::json_with(
            StatusCode::INTERNAL_SERVER_ERROR,
            &"[PD:server:ErrLeaderNil]leader is nil".into(),
        ),
    }
}

async fn delete_by_name(server: &Server, name: &str) -> Result {
    let members = server.local_members().await.map_err(refused)?;
    let Some(member) = members.iter().find(|member| member.name == name) else {
        let text = format!("not found, pd: {name}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, text));
    };
    remove(server, member.id, name).await
}

async fn delete_by_id(server: &Server, id: &str) -> Result {
    let parsed = id.parse::<u64>();
    let bad = |_| Refusal::input(format!("strconv.ParseUint: parsing {id:?}: invalid syntax"));
    remove(server, parsed.map_err(bad)?, id).await
}

/// Drops the member's facts under the leader's guard, then the member.
async fn remove(server: &Server, id: u64, shown: &str) -> Result {
    let facts = ["leader_priority", "binary_version"];
    let gone = facts.map(|fact| (format!("{}member/{id}/{fact}", server.prefix()), None));
    let (key, value) = (server.leader_key(), server.leader_value());
    if !server.etcd.write_while((&key, &value), &gone).await.map_err(refused)? {
        return Err(Refusal::internal("[PD:etcd:ErrEtcdTxnConflict]etcd transaction failed"));
    }
    let removed = server.etcd.remove_member(id).await;
    removed.map_err(|EtcdError(text)| {
        Refusal::internal(format!("[PD:etcd:ErrEtcdMemberRemove]{text}"))
    })?;
    Ok(Answer::said(&format!("removed, pd: {shown}")))
}

async fn set_priority(server: &Server, ask: &Ask, name: &str) -> Result {
    let members = server.local_members().await.map_err(refused)?;
    let Some(member) = members.iter().find(|member| member.name == name) else {
        let text = format!("not found, pd: {name}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, text));
    };
    let priority = ask.object()?.get("leader-priority").and_then(Value::as_i64);
    let priority = priority.ok_or_else(|| Refusal::bad("bad format leader priority"))?;
    let fact = format!("{}member/{}/leader_priority", server.prefix(), member.id);
    let write = [(fact, Some(priority.to_string().into_bytes()))];
    let (key, value) = (server.leader_key(), server.leader_value());
    server.etcd.write_while((&key, &value), &write).await.map_err(refused)?;
    Ok(Answer::said("success"))
}

/// Moves etcd's leadership to a listed member, whatever its health; PD's follows.
async fn transfer(server: &Server, name: &str) -> Result {
    let members = server.local_members().await.map_err(refused)?;
    let Some(member) = members.iter().find(|member| member.name == name) else {
        return Err(Refusal::internal("no valid pd to transfer etcd leader"));
    };
    if member.id != server.record.member_id {
        server.etcd.move_leader(member.id).await.map_err(refused)?;
    }
    Ok(Answer::said("The transfer command is submitted."))
}

/// Moves etcd's leadership to some other member; nothing when there is none.
async fn resign(server: &Server) -> Result {
    let LeaderRecord { member_id: own, .. } = server.record;
    let members = server.local_members().await.map_err(refused)?;
    if let Some(other) = members.iter().find(|member| member.id != own) {
        server.etcd.move_leader(other.id).await.map_err(refused)?;
    }
    Ok(Answer::said("The resign command is submitted."))
}
