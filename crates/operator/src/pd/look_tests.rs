//! What is PD asked, when, and of whom?

use std::{collections::BTreeSet, time::Duration};

use http::uri::Authority;
use serde_json::{Value, json};
use tikv_operator_core::world::{LeaderFacts, Maintenance, PdFacts, StoreId};

use super::{Depth, PdClient, Transport, transport::Limits};
use crate::{
    fake::{Asked, Fake},
    metrics::Metrics,
};

const LIMITS: Limits =
    Limits { connect: Duration::from_millis(200), call: Duration::from_millis(500) };

/// A PD of two members, asked through the one that does not lead, with a store in each of these
/// states.
fn script(states: &'static [&'static str]) -> impl Fn(&Asked) -> Option<(u16, String)> {
    move |asked| {
        let path = asked.line.strip_prefix("GET /pd/api/").unwrap();
        let body = match path {
            "v1/members" => json!({
                "header": { "cluster_id": 7 }, "leader": { "member_id": 2 },
                "members": [
                    { "name": "a", "member_id": 1, "client_urls": ["http://a.example:2379"] },
                    { "name": "b", "member_id": 2, "client_urls": ["http://b.example:2379"] },
                ],
            }),
            "v1/health" => json!([{ "member_id": 1, "health": true }]),
            "v1/stores/check" => stores(states),
            "v1/regions/count" => json!({ "count": 1, "regions": null }),
            "v1/regions/replicated?startKey=&endKey=" => json!("REPLICATED"),
            "v1/config" => json!({
                "replication": { "max-replicas": 3, "location-labels": "zone,host" },
                "schedule": { "leader-schedule-limit": 4 },
            }),
            "v1/config/replicate" => json!({ "max-replicas": 5 }),
            "v1/regions/check/down-peer" => json!({ "count": 1, "regions": [{
                "id": 9,
                "peers": [peer(1), peer(2), peer(3)],
                "down_peers": [{ "peer": peer(3), "down_seconds": 700 }],
            }] }),
            "v1/regions/check/miss-peer" | "v1/regions/check/pending-peer" => {
                json!({ "count": 0, "regions": null })
            }
            "v1/admin/unsafe/remove-failed-stores/show" => json!([{ "info": "collecting" }]),
            "v1/stores/progress?id=3" => json!({ "progress": 0.5, "left_seconds": 60.0 }),
            "v2/maintenance" => json!([{ "type": "restart", "id": "x" }]),
            _ => return Some((404, "404 page not found\n".to_owned())),
        };
        Some((200, body.to_string()))
    }
}

fn peer(store: u64) -> Value {
    json!({ "id": store * 10, "store_id": store, "role_name": "Voter" })
}

fn stores(states: &[&str]) -> Value {
    let rows = (1..).zip(states).map(|(id, name)| {
        let state = u64::from(*name == "Offline");
        json!({ "store": { "id": id, "address": format!("s{id}:20160"), "state": state,
            "state_name": name } })
    });
    let rows: Vec<Value> = rows.collect();
    json!({ "count": rows.len(), "stores": rows })
}

async fn look(fake: &Fake, depth: Depth) -> PdFacts {
    let transport = Transport::new(LIMITS, Some(fake.address.clone()));
    let member: Authority = "a.example:2379".parse().unwrap();
    let client = PdClient::new(transport, Metrics::new());
    let answer = client.look(&[member], depth).await.unwrap();
    let seen_for = jiff::SignedDuration::ZERO;
    let leader = LeaderFacts { id: answer.leader, seen_for, changed: false };
    answer.into_facts(leader)
}

fn paths(fake: &Fake) -> BTreeSet<String> {
    let paths = fake.asked().into_iter();
    paths.map(|asked| asked.line.strip_prefix("GET /pd/api/").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_quiet_look_is_seven_questions() {
    let fake = Fake::run(script(&["Up", "Up", "Up"])).await;
    let facts = look(&fake, Depth::Quiet).await;
    let want = [
        "v1/members",
        "v1/health",
        "v1/stores/check",
        "v1/scheduler-config/evict-leader-scheduler/list",
        "v1/regions/count",
        "v1/regions/replicated?startKey=&endKey=",
        "v1/config",
    ];
    assert_eq!(paths(&fake), want.map(str::to_owned).into());
    assert_eq!(fake.asked().len(), want.len());
    assert_eq!((facts.critical, facts.unsafe_recovery), (None, None));
    assert_eq!(facts.maintenance, Maintenance::Unsupported);
}

#[tokio::test]
async fn the_configuration_is_the_leaders_own() {
    let fake = Fake::run(script(&["Up", "Up", "Up"])).await;
    let facts = look(&fake, Depth::Quiet).await;
    let asked = fake.asked();
    let config = asked.iter().find(|asked| asked.line.ends_with("/config")).unwrap();
    assert_eq!(config.host, "b.example:2379");
    assert!(asked.iter().filter(|asked| *asked != config).all(|a| a.host == "a.example:2379"));
    assert_eq!(facts.max_replicas, Some(3));
    assert_eq!(facts.location_labels, ["zone", "host"]);
    assert_eq!(facts.config.unwrap()["schedule"]["leader-schedule-limit"], 4);
}

#[tokio::test]
async fn where_the_leader_does_not_tell_its_configuration_replication_is_asked_for() {
    let script = script(&["Up", "Up", "Up"]);
    let fake = Fake::run(move |asked| {
        if asked.line.ends_with("/config") { Some((500, "no".to_owned())) } else { script(asked) }
    })
    .await;
    let facts = look(&fake, Depth::Quiet).await;
    assert_eq!((facts.config, facts.max_replicas), (None, Some(5)));
}

#[tokio::test]
async fn a_full_look_knows_what_may_not_go_away() {
    let fake = Fake::run(script(&["Up", "Up", "Up"])).await;
    let facts = look(&fake, Depth::Full).await;
    assert_eq!(facts.critical, Some([(StoreId(1), 1), (StoreId(2), 1)].into()));
    let held = Maintenance::Held { kind: "restart".to_owned(), id: "x".to_owned() };
    assert_eq!(facts.maintenance, held);
    assert!(!paths(&fake).contains("v1/admin/unsafe/remove-failed-stores/show"));
}

#[tokio::test]
async fn a_store_that_is_not_up_raises_questions() {
    let fake = Fake::run(script(&["Up", "Up", "Offline"])).await;
    let facts = look(&fake, Depth::Quiet).await;
    assert_eq!(facts.unsafe_recovery, Some(true));
    assert_eq!(facts.progress[&StoreId(3)].left_seconds, Some(60));
}

#[tokio::test]
async fn a_lock_that_pd_cannot_tell_of_is_not_free() {
    for answer in [
        Some((500, "no".to_owned())),
        Some((503, "[PD:server:ErrLeaderNil]leader is nil".to_owned())),
        Some((200, "<html>".to_owned())),
        Some((200, json!({ "tasks": [] }).to_string())),
        None,
    ] {
        let (script, given) = (script(&["Up", "Up", "Up"]), answer.clone());
        let fake = Fake::run(move |asked| {
            if asked.line.ends_with("/maintenance") { given.clone() } else { script(asked) }
        })
        .await;
        let maintenance = look(&fake, Depth::Full).await.maintenance;
        assert!(matches!(maintenance, Maintenance::Unknown { .. }), "{answer:?}: {maintenance:?}");
    }
    let script = script(&["Up", "Up", "Up"]);
    let older = Fake::run(move |asked| {
        let lock = asked.line.ends_with("/maintenance");
        if lock { Some((404, "404 page not found\n".to_owned())) } else { script(asked) }
    })
    .await;
    assert_eq!(look(&older, Depth::Full).await.maintenance, Maintenance::Unsupported);
}

#[tokio::test]
async fn a_store_that_advertises_no_place_is_asked_where_it_serves() {
    let script = script(&[]);
    let rows: Vec<Value> =
        ["0.0.0.0:20180", "", "[::]:20180", "127.0.0.1:20180", "s5:21180", "10.0.0.6:20180"]
            .iter()
            .zip(1..)
            .map(|(status, id)| {
                json!({ "store": { "id": id, "address": format!("s{id}.c-tikv-peer.ns.svc:20160"),
                "state_name": "Up", "status_address": status } })
            })
            .collect();
    let list = json!({ "count": rows.len(), "stores": rows }).to_string();
    let fake = Fake::run(move |asked| {
        let stores = asked.line.ends_with("/stores/check");
        if stores { Some((200, list.clone())) } else { script(asked) }
    })
    .await;
    let facts = look(&fake, Depth::Quiet).await;
    let found: Vec<&str> = facts.stores.values().map(|s| s.status_address.as_str()).collect();
    let by_name = [1, 2, 3, 4].map(|id| format!("s{id}.c-tikv-peer.ns.svc:20180"));
    assert_eq!(found[..4], by_name);
    assert_eq!(found[4..], ["s5:21180", "10.0.0.6:20180"]);
}

#[tokio::test]
async fn half_of_the_lists_is_nothing() {
    let script = script(&["Up", "Up", "Up"]);
    let fake = Fake::run(move |asked| {
        let miss = asked.line.ends_with("miss-peer");
        if miss { Some((500, "no".to_owned())) } else { script(asked) }
    })
    .await;
    assert_eq!(look(&fake, Depth::Full).await.critical, None);
}
