//! What is the world like, as far as the Kubernetes objects, PD and the status tell?

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tikv_operator::pd::PdAnswer;
use tikv_operator_api::labels::SKIP_GATE;
use tikv_operator_api::v1alpha1::{MemberStatus, StoreStatus, TikvClusterStatus};
use tikv_operator_core::build;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::noted_start;
use tikv_operator_core::world::{
    Component, Gates, LeaderFacts, Maintenance, PdFacts, PdMember, PdMemberId, PdView, PodFacts,
    Replication, ResourceFacts, Slot, StoreFacts, StoreId, StoreState, Uid, World,
};

use crate::input::{Found, Tasks};

/// PD's default of `replication.max-replicas`.
const MAX_REPLICAS: u32 = 3;
/// A dump has no clock: it is looked at this long after its newest pod was made, when everything
/// has settled.
const LATER: SignedDuration = SignedDuration::from_hours(1);

/// The world of a cluster, for a forecast: with what PD has just said, where it did.
pub(super) fn of(
    found: &Found,
    cluster: &Cluster,
    answer: Option<PdAnswer>,
    now: Option<Timestamp>,
) -> World {
    let belongings = found.belongings();
    let newest = belongings.pods.values().map(|pod| pod.created).max();
    let now = now.or_else(|| newest.and_then(|at| at.checked_add(LATER).ok()));
    let now = now.unwrap_or(Timestamp::UNIX_EPOCH);
    let metadata = &found.resource.metadata;
    let status = found.resource.status.clone().unwrap_or_default();
    let evicting = belongings.volumes.values().filter(|v| v.marks.evicting.is_some());
    let evicting: BTreeSet<StoreId> = evicting.filter_map(|v| v.marks.store).collect();
    let has = |is: &dyn Fn(&str) -> bool| metadata.finalizers.iter().flatten().any(|f| is(f));
    let pd = match answer {
        Some(answer) => PdView::Known(Box::new(heard(answer))),
        None => pd(cluster, &status, &belongings.pods, evicting, now),
    };
    let resource = ResourceFacts {
        name: found.name().to_owned(),
        uid: Uid(metadata.uid.clone().unwrap_or_default()),
        generation: metadata.generation.unwrap_or_default() + 1,
        deleting_since: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        finalizer: has(&|name| name.starts_with("tikv.org/")),
        orphans: has(&|name| name == "orphan"),
        skip_gate: metadata.annotations.as_ref().and_then(|all| all.get(SKIP_GATE)).cloned(),
        status,
    };
    let labels = metadata.labels.clone().unwrap_or_default();
    let gates = match &found.tasks {
        Tasks::Known(tasks) => Gates::of(tasks.iter(), found.name(), &labels, now),
        Tasks::Unreadable(why) => Gates::Unknown(why.clone()),
        // What is planned is what the operator does where no task holds it; the page says so.
        Tasks::NotInDump => Gates::default(),
    };
    World {
        gates,
        pd,
        pods: belongings.pods,
        volumes: belongings.volumes,
        objects: belongings.objects,
        strangers: belongings.strangers,
        ..World::bare(now, resource)
    }
}

/// As an operator that has just started: it has seen no leader before this one.
fn heard(answer: PdAnswer) -> PdFacts {
    let leader = LeaderFacts { id: answer.leader, seen_for: SignedDuration::ZERO, changed: false };
    answer.into_facts(leader)
}

fn pd(
    cluster: &Cluster,
    status: &TikvClusterStatus,
    pods: &BTreeMap<Slot, PodFacts>,
    evicting: BTreeSet<StoreId>,
    now: Timestamp,
) -> PdView {
    let id = status.cluster_id.as_ref().and_then(|id| id.parse().ok());
    let members = status.pd.iter().flat_map(|pd| &pd.members);
    let leader = members.clone().find(|member| member.leader).and_then(member_id);
    let (Some(id), Some(leader)) = (id, leader) else { return PdView::NotCreated };
    let stores: BTreeMap<StoreId, StoreFacts> = status
        .tikv
        .iter()
        .flat_map(|tikv| &tikv.stores)
        .filter_map(|store| self::store(cluster, store, pods, now))
        .map(|store| (store.id, store))
        .collect();
    let ready =
        |type_: &str| status.conditions.iter().any(|c| c.type_ == type_ && c.status == "True");
    PdView::Known(Box::new(PdFacts {
        cluster_id: tikv_operator_core::world::ClusterId(id),
        members: members.filter_map(member).map(|member| (member.id, member)).collect(),
        leader: LeaderFacts { id: leader, seen_for: LATER, changed: false },
        bootstrapped: !stores.is_empty(),
        regions: stores.values().map(|store| store.leaders).sum(),
        stores,
        evicting,
        replication: if ready("Ready") { Replication::Replicated } else { Replication::Unknown },
        fewest_peers: None,
        max_replicas: Some(max_replicas(cluster)),
        location_labels: Vec::new(),
        isolation_level: Some(isolation_level(cluster)),
        critical: Some(BTreeMap::new()),
        progress: BTreeMap::new(),
        config: None,
        maintenance: Maintenance::Unsupported,
        unsafe_recovery: Some(false),
    }))
}

fn isolation_level(cluster: &Cluster) -> String {
    let table = cluster.pd.common.config.get("replication");
    let value = table.and_then(|table| table.get("isolation-level")?.as_str());
    value.unwrap_or_default().to_owned()
}

fn max_replicas(cluster: &Cluster) -> u32 {
    let table = cluster.pd.common.config.get("replication");
    let value = table.and_then(|table| table.get("max-replicas")?.as_integer());
    value.and_then(|number| u32::try_from(number).ok()).unwrap_or(MAX_REPLICAS)
}

fn member_id(member: &MemberStatus) -> Option<PdMemberId> {
    member.id.as_ref()?.parse().ok().map(PdMemberId)
}

fn member(status: &MemberStatus) -> Option<PdMember> {
    Some(PdMember {
        id: member_id(status)?,
        name: status.name.clone(),
        healthy: status.healthy,
        version: status.version.clone().unwrap_or_default(),
        client_url: String::new(),
    })
}

fn store(
    cluster: &Cluster,
    status: &StoreStatus,
    pods: &BTreeMap<Slot, PodFacts>,
    now: Timestamp,
) -> Option<StoreFacts> {
    let state = match status.state.as_deref() {
        Some("Up") => StoreState::Up,
        Some("Disconnected") => StoreState::Disconnected,
        Some("Down") => StoreState::Down,
        Some("Offline") => StoreState::Offline,
        _ => return None,
    };
    let slot = status.pod.as_ref().and_then(|pod| Slot::of_pod(cluster.name.as_str(), pod));
    let slot = slot.filter(|slot| slot.component == Component::Tikv);
    Some(StoreFacts {
        id: StoreId(status.id.as_ref()?.parse().ok()?),
        state,
        address: slot.map(|slot| build::store_address(cluster, slot)).unwrap_or_default(),
        status_address: String::new(),
        serving: true,
        capacity: None,
        available: None,
        used: None,
        last_heartbeat: matches!(state, StoreState::Up | StoreState::Offline).then_some(now),
        started: slot.and_then(|slot| pods.get(&slot)).map_or(Some(now), started),
        leaders: count(status.leaders),
        regions: count(status.regions),
        version: status.version.clone().unwrap_or_default(),
        labels: BTreeMap::new(),
        physically_destroyed: false,
    })
}

/// The start of a store's process, which only PD could say: the one that is noted, unless its
/// container was started after that.
fn started(pod: &PodFacts) -> Option<Timestamp> {
    noted_start(pod).max(pod.started)
}

fn count(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}
