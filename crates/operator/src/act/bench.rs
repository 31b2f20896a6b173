//! A plan's look at a cluster, and a PD that may have moved on since, for tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::uri::Authority;
use jiff::{SignedDuration, Timestamp};
use kube::{Client, Config};
use serde_json::{Value, json};
use tikv_operator_core::{
    facts::{Belongings, Owner, resource_facts},
    plan::Step,
    report::Failure,
    world::{
        ClusterId, Kind, LeaderFacts, Maintenance, PdFacts, PdMember, PdMemberId, PdView,
        Replication, StoreFacts, StoreId, StoreState, World,
    },
};
use tokio::time::Instant;

use super::{Acted, FINALIZER, Hands};
use crate::{
    budget::{Budget, Limits},
    controller::Key,
    fake::{Answer, Asked, Fake},
    kubernetes::Kubernetes,
    lease::Fence,
    metrics::Metrics,
    observe::Look,
    pd::{self, Again, PdClient, Transport},
    store::StoreClient,
};

pub(super) const CLUSTER: ClusterId = ClusterId(7_711_106_130_007_928_711);

/// `c-tikv-0.c-tikv-peer.ns.svc:20160`.
pub(super) fn address(ordinal: u32) -> String {
    format!("c-tikv-{ordinal}.c-tikv-peer.ns.svc:20160")
}

/// Members 11, 12, … called c-pd-0, …, all healthy, the first leads; stores 1, 2, … all Up.
pub(super) fn again(members: u64, stores: u32) -> Again {
    let member = |n: u64| PdMember {
        id: PdMemberId(11 + n),
        name: format!("c-pd-{n}"),
        healthy: true,
        version: "v8.5.7".to_owned(),
        client_url: format!("http://c-pd-{n}.c-pd-peer.ns.svc:2379"),
    };
    Again {
        cluster_id: CLUSTER,
        members: (0..members).map(member).map(|member| (member.id, member)).collect(),
        leader: PdMemberId(11),
        stores: (0..stores).map(store).map(|store| (store.id, store)).collect(),
    }
}

fn store(ordinal: u32) -> StoreFacts {
    StoreFacts {
        id: StoreId(u64::from(ordinal) + 1),
        state: StoreState::Up,
        address: address(ordinal),
        status_address: format!("c-tikv-{ordinal}.c-tikv-peer.ns.svc:20180"),
        serving: true,
        capacity: None,
        available: None,
        used: None,
        last_heartbeat: Timestamp::from_second(1_795_384_616).ok(),
        started: Timestamp::from_second(1_795_384_000).ok(),
        leaders: 1,
        regions: 3,
        version: "8.5.7".to_owned(),
        labels: BTreeMap::new(),
        physically_destroyed: false,
    }
}

/// The world in which PD said `then`, with a running pod and a claim for each member and store.
pub(super) fn world(then: &Again) -> World {
    let resource = json!({
        "metadata": { "name": "c", "namespace": "ns", "uid": "u", "generation": 1 },
        "status": { "clusterId": CLUSTER.to_string() },
    });
    let mut found = Belongings::default();
    let facts = resource_facts(&resource, FINALIZER).unwrap();
    for (component, count) in [("pd", then.members.len()), ("tikv", then.stores.len())] {
        for ordinal in 0..count {
            for (kind, body) in objects(component, ordinal) {
                found.take(Owner { name: "c", uid: &facts.uid }, kind, &body);
            }
        }
    }
    let now = Timestamp::from_second(1_795_384_620).unwrap();
    World {
        pods: found.pods,
        volumes: found.volumes,
        objects: found.objects,
        strangers: found.strangers,
        pd: PdView::Known(Box::new(facts_of(then))),
        ..World::bare(now, facts)
    }
}

fn objects(component: &str, ordinal: usize) -> [(Kind, Value); 2] {
    let labels = json!({
        "app.kubernetes.io/managed-by": "tikv-operator", "tikv.org/cluster": "c",
        "app.kubernetes.io/component": component, "tikv.org/ordinal": ordinal.to_string(),
    });
    let name = format!("c-{component}-{ordinal}");
    let pod = json!({
        "metadata": { "name": name, "namespace": "ns", "uid": name, "labels": labels,
            "creationTimestamp": "2026-11-23T00:00:00Z",
            "ownerReferences": [{ "uid": "u", "controller": true }] },
        "status": { "phase": "Running",
            "conditions": [{ "type": "ContainersReady", "status": "True" }] },
    });
    let claim = format!("{component}-{name}");
    let id = if component == "pd" { "member-id" } else { "store-id" };
    let number = if component == "pd" { 11 + ordinal } else { 1 + ordinal };
    let volume = json!({
        "metadata": { "name": claim, "namespace": "ns", "uid": claim, "labels": labels,
            "annotations": { format!("tikv.org/{id}"): number.to_string() } },
        "spec": { "resources": { "requests": { "storage": "1Gi" } } },
        "status": { "phase": "Bound" },
    });
    [(Kind::Pod, pod), (Kind::PersistentVolumeClaim, volume)]
}

fn facts_of(then: &Again) -> PdFacts {
    PdFacts {
        cluster_id: then.cluster_id,
        members: then.members.clone(),
        leader: LeaderFacts {
            id: then.leader,
            seen_for: SignedDuration::from_mins(5),
            changed: false,
        },
        bootstrapped: true,
        stores: then.stores.clone(),
        evicting: [].into(),
        replication: Replication::Replicated,
        fewest_peers: None,
        regions: 3,
        max_replicas: Some(3),
        location_labels: Vec::new(),
        isolation_level: Some(String::new()),
        critical: None,
        progress: BTreeMap::new(),
        config: None,
        maintenance: Maintenance::Unsupported,
        unsafe_recovery: None,
    }
}

/// Answers of a PD in the state `now`; a change is answered by `changes`, or with 200.
pub(super) fn pd(
    now: Again,
    changes: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    let now = Mutex::new(now);
    move |asked| {
        if let Some(answer) = changes(asked) {
            return answer;
        }
        let now = now.lock().unwrap();
        let body = match asked.line.as_str() {
            "GET /pd/api/v1/members" => members(&now),
            "GET /pd/api/v1/health" => {
                let rows = now.members.values();
                rows.map(|m| json!({ "member_id": m.id, "health": m.healthy })).collect()
            }
            "GET /pd/api/v1/stores/check" => stores(&now),
            get if get.starts_with("GET ") => {
                return Some((404, "404 page not found\n".to_owned()));
            }
            _ => json!("ok"),
        };
        Some((200, body.to_string()))
    }
}

fn members(now: &Again) -> Value {
    let row =
        |m: &PdMember| json!({ "name": m.name, "member_id": m.id, "client_urls": [m.client_url] });
    let rows: Vec<Value> = now.members.values().map(row).collect();
    let leader = json!({ "member_id": now.leader });
    json!({ "header": { "cluster_id": now.cluster_id }, "members": rows, "leader": leader })
}

fn stores(now: &Again) -> Value {
    let rows: Vec<Value> = now
        .stores
        .values()
        .map(|s| {
            let state = match s.state {
                StoreState::Up | StoreState::Disconnected | StoreState::Down => 0,
                StoreState::Offline => 1,
                StoreState::Tombstone => 2,
            };
            let name = format!("{:?}", s.state);
            json!({ "store": { "id": s.id, "address": s.address, "state": state, "state_name": name } })
        })
        .collect();
    json!({ "count": rows.len(), "stores": rows })
}

/// A fence that lets everything through.
pub(super) fn held() -> Fence {
    let fence = Fence::new();
    fence.open(Instant::now() + Duration::from_mins(10));
    fence
}

/// Hands whose PD and stores are reached through `through`, and that reach no API server.
pub(super) fn hands(through: Option<Authority>, fence: Fence, limits: Limits) -> Hands {
    let client = Client::try_from(Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
    let times =
        pd::Limits { connect: Duration::from_millis(300), call: Duration::from_millis(500) };
    let transport = Transport::new(times, through);
    Hands {
        kubernetes: Kubernetes::new(client, fence, Metrics::new()),
        pd: PdClient::new(transport.clone(), Metrics::new()),
        stores: StoreClient::new(transport, Metrics::new()),
        budget: Budget::new(limits),
    }
}

/// What was seen when PD was as in `then`, with these members to ask.
pub(super) fn look(then: &Again, members: &[Authority]) -> Look {
    let key = Key { namespace: "ns".to_owned(), name: "c".to_owned() };
    Look { key, resource: Arc::new(json!({})), world: world(then), pd: members.to_vec() }
}

const MANY: Limits = Limits { per_cluster: 100, overall: 100 };

/// Takes one step that was planned on `then`, with these members to ask.
pub(super) async fn take(then: &Again, members: &[Authority], step: Step) -> Result<(), Failure> {
    take_fenced(then, members, step, held()).await
}

/// The same under a lease of its own.
pub(super) async fn take_fenced(
    then: &Again,
    members: &[Authority],
    step: Step,
    fence: Fence,
) -> Result<(), Failure> {
    let acted = hands(None, fence, MANY).act(&look(then, members), &[step]).await;
    acted.outcomes.into_iter().next().unwrap().result
}

/// The same with everything going through one server.
pub(super) async fn take_through(fake: &Fake, then: &Again, step: Step) -> Result<(), Failure> {
    let member: Authority = "c-pd-0.c-pd-peer.ns.svc:2379".parse().unwrap();
    let hands = hands(Some(fake.address.clone()), held(), MANY);
    let acted = hands.act(&look(then, &[member]), &[step]).await;
    acted.outcomes.into_iter().next().unwrap().result
}

/// Passes one after the other over these steps, with one member to ask and a budget of `limit`.
pub(super) async fn act(then: &Again, fake: &Fake, passes: &[&[Step]], limit: u32) -> Vec<Acted> {
    let hands = hands(None, held(), Limits { per_cluster: limit, overall: limit });
    let look = look(then, std::slice::from_ref(&fake.address));
    let mut acted = Vec::new();
    for steps in passes {
        acted.push(hands.act(&look, steps).await);
    }
    acted
}
