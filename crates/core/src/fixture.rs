//! Clusters and worlds for tests, from the least that a test wants to say.
//!
//! Also compiled into the benchmark (`xtask/bench`), so it uses what core gives to everybody.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tikv_operator_api::v1alpha1::{TikvCluster, TikvClusterStatus};

use crate::build;
use crate::check::check;
use crate::cluster::Cluster;
use crate::plan::{Step, plan};
use crate::world::{
    ClusterId, Component, LeaderFacts, Maintenance, ObjectFacts, ObjectKey, PdFacts, PdMember,
    PdMemberId, PdView, PodFacts, PodPhase, Replication, ResourceFacts, Slot, StoreFacts, StoreId,
    StoreState, Trial, Uid, VolumeFacts, VolumeMarks, VolumePhase, World,
};

pub(crate) const ID: ClusterId = ClusterId(7_711_106_130_007_928_711);
pub(crate) const UID: &str = "uid-of-resource";

/// A checked cluster named `c` with `spec` merged over `version: v8.5.7`.
pub(crate) fn cluster(spec: Value) -> Cluster {
    let mut body = json!({
        "apiVersion": "tikv.org/v1alpha1",
        "kind": "TikvCluster",
        "metadata": {"name": "c", "namespace": "ns", "uid": UID, "generation": 1},
        "spec": {"version": "v8.5.7"},
    });
    let Value::Object(fields) = spec else { panic!("spec is an object") };
    for (key, value) in fields {
        body["spec"][key] = value;
    }
    let resource: TikvCluster = serde_json::from_value(body).expect("a TikvCluster");
    check(&resource).expect("a valid spec")
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a timestamp")
}

/// Nothing exists but the resource.
pub(crate) fn empty() -> World {
    let resource = ResourceFacts {
        name: "c".into(),
        uid: Uid(UID.into()),
        generation: 1,
        deleting_since: None,
        finalizer: false,
        orphans: false,
        skip_gate: None,
        status: TikvClusterStatus::default(),
    };
    World::bare(now(), resource)
}

/// The API server accepts the pods that `cluster` asks for.
pub(crate) fn accept(cluster: &Cluster, world: &mut World) {
    world.trials = Component::ALL
        .into_iter()
        .map(|c| (c, Trial { revision: build::revision(cluster, c), refused: None }))
        .collect();
}

/// A volume of `slot` that carries this resource's uid and the cluster id.
pub(crate) fn volume(slot: Slot) -> VolumeFacts {
    VolumeFacts {
        uid: Uid(format!("uid-volume-{slot}")),
        version: "1".into(),
        slot,
        main: true,
        phase: VolumePhase::Bound,
        requested: 1,
        capacity: 1,
        storage_class: None,
        deleting: false,
        growth: None,
        replace: None,
        marks: VolumeMarks {
            resource: Some(Uid(UID.into())),
            cluster: Some(ID),
            ..VolumeMarks::default()
        },
    }
}

/// A pod of `slot` that runs what `cluster` wants.
pub(crate) fn pod(cluster: &Cluster, slot: Slot) -> PodFacts {
    let ran = match slot.component {
        Component::Pd => SignedDuration::from_hours(1),
        Component::Tikv => SignedDuration::ZERO,
    };
    PodFacts {
        uid: Uid(format!("uid-pod-{slot}")),
        revision: Some(build::revision(cluster, slot.component)),
        phase: PodPhase::Running,
        containers_ready: true,
        ready: true,
        store_up_gate: (slot.component == Component::Tikv).then_some(true),
        has_run: true,
        image: Some(
            match slot.component {
                Component::Pd => &cluster.pd.common.image,
                Component::Tikv => &cluster.tikv.common.image,
            }
            .clone(),
        ),
        node: Some("node-1".into()),
        created: now(),
        started: Some(now() - ran),
        restarts: 0,
        deleting_since: None,
        trouble: None,
        config_map: Some(build::config_map_name(cluster, slot.component).to_owned()),
        serving: slot.component == Component::Pd,
        annotations: BTreeMap::new(),
    }
}

pub(crate) fn pd_member(ordinal: u32) -> PdMember {
    PdMember {
        id: PdMemberId(u64::from(ordinal) + 101),
        name: Slot::pd(ordinal).pod_name("c"),
        healthy: true,
        version: "v8.5.7".into(),
        client_url: format!("http://c-pd-{ordinal}.c-pd-peer.ns.svc:2379"),
    }
}

pub(crate) fn store(cluster: &Cluster, ordinal: u32) -> StoreFacts {
    StoreFacts {
        id: StoreId(u64::from(ordinal) + 1),
        state: StoreState::Up,
        address: build::store_address(cluster, Slot::tikv(ordinal)),
        status_address: build::store_address(cluster, Slot::tikv(ordinal))
            .replace("20160", "20180"),
        serving: true,
        capacity: Some(100 << 30),
        available: Some(90 << 30),
        used: Some(1 << 30),
        last_heartbeat: Some(now()),
        started: Some(now()),
        leaders: 1,
        regions: 1,
        version: "8.5.7".into(),
        labels: BTreeMap::new(),
        physically_destroyed: false,
    }
}

pub(crate) fn pd_facts(members: u32) -> PdFacts {
    PdFacts {
        cluster_id: ID,
        members: (0..members).map(pd_member).map(|m| (m.id, m)).collect(),
        leader: LeaderFacts {
            id: PdMemberId(101),
            seen_for: SignedDuration::from_mins(5),
            changed: false,
        },
        bootstrapped: false,
        stores: BTreeMap::new(),
        evicting: BTreeSet::new(),
        replication: Replication::Unknown,
        fewest_peers: None,
        regions: 0,
        max_replicas: Some(3),
        location_labels: Vec::new(),
        isolation_level: Some(String::new()),
        critical: Some(BTreeMap::new()),
        progress: BTreeMap::new(),
        config: None,
        maintenance: Maintenance::Unsupported,
        unsafe_recovery: Some(false),
    }
}

/// A cluster that has all it wants: `Ready`, nothing to do.
pub(crate) fn settled(cluster: &Cluster) -> World {
    let mut world = empty();
    world.resource.status.cluster_id = Some(ID.to_string());
    let mut facts = pd_facts(cluster.pd.replicas);
    facts.bootstrapped = true;
    facts.replication = Replication::Replicated;
    facts.regions = u64::from(cluster.tikv.replicas);
    for ordinal in 0..cluster.tikv.replicas {
        let store = store(cluster, ordinal);
        facts.stores.insert(store.id, store);
    }
    let slots =
        (0..cluster.pd.replicas).map(Slot::pd).chain((0..cluster.tikv.replicas).map(Slot::tikv));
    for slot in slots {
        let mut volume = volume(slot);
        volume.marks.node = Some("node-1".into());
        let part = match slot.component {
            Component::Pd => &cluster.pd.common,
            Component::Tikv => &cluster.tikv.common,
        };
        volume.requested = part.storage.size.units();
        volume.capacity = volume.requested;
        match slot.component {
            Component::Pd => {
                let member = pd_member(slot.ordinal);
                volume.marks.member = Some(member.id);
                volume.marks.written_by = Some(member.version);
            }
            Component::Tikv => {
                let store = store(cluster, slot.ordinal);
                volume.marks.store = Some(store.id);
                volume.marks.written_by = Some(store.version);
            }
        }
        world.volumes.insert(slot.claim_name("c"), volume);
        world.pods.insert(slot, pod(cluster, slot));
    }
    world.pd = PdView::Known(Box::new(facts));
    world.objects = furniture(cluster, &world);
    world
}

/// What the planner makes where no furniture stands.
fn furniture(cluster: &Cluster, world: &World) -> BTreeMap<ObjectKey, ObjectFacts> {
    let steps = plan(cluster, world).steps.into_iter();
    let made = steps
        .filter(Step::is_furniture)
        .filter_map(|step| if let Step::Create(object) = step { Some(object) } else { None });
    made.map(|object| {
        let uid = Uid(format!("uid-{}", object.key.name));
        (object.key, ObjectFacts { uid, body: object.body.into(), deleting: false })
    })
    .collect()
}

/// PD's facts in `world`, to change them.
pub(crate) fn pd_of(world: &mut World) -> &mut PdFacts {
    match &mut world.pd {
        PdView::Known(facts) => facts,
        PdView::NotCreated | PdView::Unreachable { .. } => panic!("PD is known"),
    }
}
