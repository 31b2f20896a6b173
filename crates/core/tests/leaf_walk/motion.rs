//! What does a cluster do while something goes on?
//!
//! Delays and limits show only then: the manifest of a cluster that does not exist yet cannot show
//! them. In each of these scenes something has lasted for a while, chosen so that the defaults of the
//! fields, what the fixtures say, and what the walk tries give another plan.

use jiff::SignedDuration;
use serde_json::Value;
use tikv_operator_api::TikvCluster;
use tikv_operator_core::check::check;
use tikv_operator_core::cluster::{Cluster, ReclaimPolicy};
use tikv_operator_core::plan::{Plan, plan};
use tikv_operator_core::world::{
    Component, Leaving, NodeFacts, NodeView, PdMemberId, Revision, Slot, StoreId, StoreProcess,
    StoreState, Symptom, VolumeMarks, World, symptoms,
};

use crate::scenes;

/// More than the 7 minutes that the walk tries, less than the defaults of 10 minutes and more.
const A_WHILE: SignedDuration = SignedDuration::from_mins(8);
/// Between the default of `waitLeaderTransferBackTimeout`, 400 s, and the 7 minutes.
const ALMOST_SEVEN_MINUTES: SignedDuration = SignedDuration::from_secs(410);

/// The plan of each scene, for a manifest that is valid.
pub(crate) fn plans(manifest: &Value) -> Vec<Plan> {
    let mut manifest = manifest.clone();
    // The scenes know their cluster by this name.
    manifest["metadata"]["name"] = "c".into();
    manifest["metadata"]["uid"] = scenes::UID.into();
    let resource: TikvCluster = serde_json::from_value(manifest).expect("a TikvCluster");
    let mut cluster = check(&resource).expect("a valid spec");
    // Volumes that stay for ever need no quarantine.
    cluster.pd.common.reclaim = ReclaimPolicy::Delete;
    cluster.tikv.common.reclaim = ReclaimPolicy::Delete;
    let worlds = [
        labelled(&cluster),
        emptied_for_its_restart(&cluster),
        back_from_its_restart(&cluster),
        few(&cluster),
        many(&cluster),
        without_a_store(&cluster),
        without_a_member(&cluster, A_WHILE),
        after_many_losses(&cluster),
        with_a_volume_left(&cluster),
        configured_otherwise(&cluster, Slot::pd(1)),
        configured_otherwise(&cluster, Slot::tikv(1)),
    ];
    worlds.map(|world| plan(&cluster, &world)).into()
}

/// All is well, on a node whose labels are known.
fn labelled(cluster: &Cluster) -> World {
    let mut world = scenes::settled(cluster);
    world.nodes.insert("node-1".into(), NodeView::Known(node(true)));
    world
}

fn node(ready: bool) -> NodeFacts {
    NodeFacts {
        ready,
        ready_since: None,
        cordoned: false,
        out_of_service: false,
        labels: [("example.com/rack".to_owned(), "r1".to_owned())].into(),
    }
}

/// The pod of this slot was made from an earlier spec.
fn outdate(world: &mut World, slot: Slot) {
    let pod = world.pods.get_mut(&slot).expect("a pod");
    pod.revision = Some(Revision("earlier".into()));
}

/// The pod of this slot was made with another configuration, and is as the spec says but for that.
fn configured_otherwise(cluster: &Cluster, slot: Slot) -> World {
    let mut world = scenes::settled(cluster);
    scenes::accept(cluster, &mut world);
    let revision = &mut world.pods.get_mut(&slot).expect("a pod").revision;
    let whole = revision.take().expect("a revision").0;
    let (pod, _) = whole.split_once('-').expect("a half of the pod and one of its configuration");
    *revision = Some(Revision(format!("{pod}-earlier")));
    world
}

/// A store that is to be restarted and keeps its last two leaders.
fn emptied_for_its_restart(cluster: &Cluster) -> World {
    let mut world = scenes::settled(cluster);
    scenes::accept(cluster, &mut world);
    outdate(&mut world, Slot::tikv(2));
    marks(&mut world, Slot::tikv(2)).evicting = Some("restart".into());
    scenes::pd_of(&mut world).evicting.insert(StoreId(3));
    let process = StoreProcess { leaders: Some(2), ..StoreProcess::default() };
    world.processes.insert(StoreId(3), process);
    world.seen_for.insert(Symptom::Evicting(StoreId(3), 2), A_WHILE);
    world
}

/// A store that was restarted and leads nothing yet, and another one that is to be restarted.
fn back_from_its_restart(cluster: &Cluster) -> World {
    let mut world = scenes::settled(cluster);
    scenes::accept(cluster, &mut world);
    outdate(&mut world, Slot::tikv(1));
    for store in scenes::pd_of(&mut world).stores.values_mut() {
        store.leaders = if store.id == StoreId(3) { 0 } else { 9 };
    }
    let begun = scenes::now() - ALMOST_SEVEN_MINUTES;
    world.pods.get_mut(&Slot::tikv(2)).expect("a pod").started = Some(begun);
    world.seen_for.insert(Symptom::Leading(StoreId(3), 0), ALMOST_SEVEN_MINUTES);
    world
}

/// Stores are missing.
fn few(cluster: &Cluster) -> World {
    let mut smaller = cluster.clone();
    smaller.tikv.replicas = 1;
    scenes::settled(&smaller)
}

/// There are more stores than are wanted.
fn many(cluster: &Cluster) -> World {
    let mut larger = cluster.clone();
    larger.tikv.replicas += 8;
    scenes::settled(&larger)
}

/// The pod's node is gone, with all that was on it.
fn lose(world: &mut World, slot: Slot) {
    let pod = world.pods.get_mut(&slot).expect("a pod");
    (pod.containers_ready, pod.ready, pod.node) = (false, false, Some("dead".into()));
    marks(world, slot).node = Some("dead".into());
    world.nodes.insert("dead".into(), NodeView::Known(node(false)));
}

fn watch(world: &mut World, since: SignedDuration) {
    world.seen_for = symptoms(world).into_iter().map(|symptom| (symptom, since)).collect();
}

/// A store is lost for a while.
fn without_a_store(cluster: &Cluster) -> World {
    let mut world = scenes::settled(cluster);
    lose(&mut world, Slot::tikv(1));
    let store = scenes::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    (store.state, store.last_heartbeat) = (StoreState::Down, Some(scenes::now() - A_WHILE));
    watch(&mut world, A_WHILE);
    world
}

/// A PD member is lost.
fn without_a_member(cluster: &Cluster, since: SignedDuration) -> World {
    let mut world = scenes::settled(cluster);
    lose(&mut world, Slot::pd(1));
    let member = PdMemberId(102);
    scenes::pd_of(&mut world).members.get_mut(&member).expect("a member").healthy = false;
    watch(&mut world, since);
    world
}

/// A PD member is lost for long, after others were.
fn after_many_losses(cluster: &Cluster) -> World {
    let mut world = without_a_member(cluster, SignedDuration::from_hours(1));
    for ordinal in 10..13 {
        leave_volume(&mut world, Slot::pd(ordinal));
    }
    world
}

/// A replaced store's volume is there.
fn with_a_volume_left(cluster: &Cluster) -> World {
    let mut world = scenes::settled(cluster);
    leave_volume(&mut world, Slot::tikv(10));
    world
}

fn leave_volume(world: &mut World, slot: Slot) {
    let since = scenes::now() - A_WHILE;
    let mut volume = scenes::volume(slot);
    volume.marks = VolumeMarks {
        retired: true,
        retired_since: Some(since),
        leaving: Some(Leaving { since, reason: "replaced".into() }),
        ..volume.marks
    };
    match slot.component {
        Component::Pd => volume.marks.member = Some(PdMemberId(u64::from(slot.ordinal) + 101)),
        Component::Tikv => volume.marks.store = Some(StoreId(u64::from(slot.ordinal) + 1)),
    }
    world.volumes.insert(slot.claim_name("c"), volume);
}

fn marks(world: &mut World, slot: Slot) -> &mut VolumeMarks {
    &mut world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks
}
