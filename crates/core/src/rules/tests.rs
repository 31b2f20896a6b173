//! One table per rule: the scene in which it holds a step or a planner or says something, and the
//! nearest one in which it does not.

mod failover;
mod suspend;

use serde_json::json;

use super::*;
use crate::build;
use crate::cluster::Cluster;
use crate::fixture::{self, ID};
use crate::plan::Step;
use crate::world::{
    BootstrapRecord, ClusterId, Kind, ObjectKey, PdMember, PdView, Slot, Uid, VolumeMarks, World,
};

mod guards;
mod leaving;
mod pd;
mod proofs;
mod restarts;
mod serving;
mod stores;
mod volumes;
mod waits;

fn verdict(rule: &Rule, cluster: &Cluster, world: &World, step: &Step) -> Result<(), String> {
    let guard = rule.guard.expect("a rule with a guard");
    guard(step, &Scene::new(cluster, world))
}

pub(super) fn holds(rule: &Rule, cluster: &Cluster, world: &World, step: &Step) {
    let refusal = verdict(rule, cluster, world, step);
    assert!(refusal.is_err(), "{} lets {step:?} pass", rule.name);
}

pub(super) fn allows(rule: &Rule, cluster: &Cluster, world: &World, step: &Step) {
    assert_eq!(verdict(rule, cluster, world, step), Ok(()), "{}", rule.name);
}

pub(super) fn three() -> Cluster {
    fixture::cluster(json!({}))
}

pub(super) fn make_pod(cluster: &Cluster, slot: Slot) -> Step {
    Step::Create(build::pod(cluster, slot))
}

fn make_volume(cluster: &Cluster, slot: Slot) -> Step {
    let claims = build::claims(cluster, slot, &VolumeMarks::default());
    Step::Create(claims.into_iter().next().expect("a main volume"))
}

fn lose(world: &mut World, slot: Slot) {
    world.pods.remove(&slot);
    world.volumes.remove(&slot.claim_name("c"));
}

#[test]
fn one_cluster_id() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let step = make_pod(&cluster, Slot::pd(0));
    allows(&ONE_CLUSTER_ID, &cluster, &world, &step);
    holds(&ONE_CLUSTER_ID, &cluster, &world, &Step::RecordClusterId(ClusterId(1)));
    fixture::pd_of(&mut world).cluster_id = ClusterId(1);
    holds(&ONE_CLUSTER_ID, &cluster, &world, &step);
    allows(&ONE_CLUSTER_ID, &cluster, &world, &Step::ReleaseFinalizer);
    // Before anybody names an id there is none to write down.
    let unborn = fixture::empty();
    holds(&ONE_CLUSTER_ID, &cluster, &unborn, &Step::RecordClusterId(ClusterId(1)));
}

#[test]
fn foreign_object() {
    let cluster = three();
    let mut world = fixture::empty();
    let step = make_pod(&cluster, Slot::pd(0));
    allows(&FOREIGN_OBJECT, &cluster, &world, &step);
    world.strangers.insert(ObjectKey::new(Kind::Pod, "c-pd-0"), "owned by Deployment x".into());
    holds(&FOREIGN_OBJECT, &cluster, &world, &step);
    allows(&FOREIGN_OBJECT, &cluster, &world, &make_pod(&cluster, Slot::pd(1)));
}

/// It would not be made again; one that leaves need not be.
#[test]
fn a_pod_stays_that_runs_on_a_claim_which_is_not_ours() {
    let volume = json!({"name": "raft", "mountPath": "/raft", "storageSize": "1Gi"});
    let cluster = fixture::cluster(json!({"tikv": {"storageVolumes": [volume]}}));
    for claim in ["tikv-c-tikv-0", "tikv-raft-c-tikv-0"] {
        let mut world = fixture::settled(&cluster);
        let uid = world.pods[&Slot::tikv(0)].uid.clone();
        let restart = Step::DeletePod { name: "c-tikv-0".into(), uid, reason: String::new() };
        allows(&FOREIGN_OBJECT, &cluster, &world, &restart);
        let key = ObjectKey::new(Kind::PersistentVolumeClaim, claim);
        world.strangers.insert(key, "without a controller".into());
        holds(&FOREIGN_OBJECT, &cluster, &world, &restart);
        let other = world.pods[&Slot::tikv(1)].uid.clone();
        let other = Step::DeletePod { name: "c-tikv-1".into(), uid: other, reason: String::new() };
        allows(&FOREIGN_OBJECT, &cluster, &world, &other);
        world.volumes.get_mut("tikv-c-tikv-0").expect("a volume").marks.retired = true;
        allows(&FOREIGN_OBJECT, &cluster, &world, &restart);
    }
}

#[test]
fn bootstrap_once() {
    let cluster = fixture::cluster(json!({"pd": {"replicas": 5}}));
    let mut world = fixture::empty();
    let mut volume = fixture::volume(Slot::pd(0));
    volume.marks.cluster = None;
    volume.marks.bootstrap = Some(BootstrapRecord { token: "t".into(), members: vec![0, 1, 2] });
    world.volumes.insert("pd-c-pd-0".into(), volume);
    allows(&BOOTSTRAP_ONCE, &cluster, &world, &make_pod(&cluster, Slot::pd(2)));
    holds(&BOOTSTRAP_ONCE, &cluster, &world, &make_pod(&cluster, Slot::pd(3)));
}

#[test]
fn never_bootstrap_twice() {
    let cluster = three();
    let record = BootstrapRecord { token: "t".into(), members: vec![0, 1, 2] };
    let mut world = fixture::empty();
    allows(&NEVER_BOOTSTRAP_TWICE, &cluster, &world, &Step::RecordBootstrap(record.clone()));
    world.resource.status.cluster_id = Some(ID.to_string());
    holds(&NEVER_BOOTSTRAP_TWICE, &cluster, &world, &Step::RecordBootstrap(record));
    holds(&NEVER_BOOTSTRAP_TWICE, &cluster, &world, &make_volume(&cluster, Slot::pd(0)));
    holds(&NEVER_BOOTSTRAP_TWICE, &cluster, &world, &make_pod(&cluster, Slot::pd(0)));
    world.volumes.insert("pd-c-pd-1".into(), fixture::volume(Slot::pd(1)));
    allows(&NEVER_BOOTSTRAP_TWICE, &cluster, &world, &make_pod(&cluster, Slot::pd(1)));
}

#[test]
fn cluster_id_before_stores() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let step = make_pod(&cluster, Slot::tikv(0));
    allows(&CLUSTER_ID_BEFORE_STORES, &cluster, &world, &step);
    allows(
        &CLUSTER_ID_BEFORE_STORES,
        &cluster,
        &fixture::empty(),
        &make_pod(&cluster, Slot::pd(0)),
    );
    world.resource.status.cluster_id = None;
    holds(&CLUSTER_ID_BEFORE_STORES, &cluster, &world, &step);
    world.resource.status.cluster_id = Some(ID.to_string());
    world.volumes.get_mut("pd-c-pd-1").expect("a volume").marks.cluster = None;
    holds(&CLUSTER_ID_BEFORE_STORES, &cluster, &world, &step);
}

#[test]
fn ask_pd_first() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let step = make_volume(&cluster, Slot::tikv(7));
    allows(&ASK_PD_FIRST, &cluster, &world, &step);
    world.pd = PdView::Unreachable { seen_for: jiff::SignedDuration::ZERO, reason: "x".into() };
    holds(&ASK_PD_FIRST, &cluster, &world, &step);
    allows(&ASK_PD_FIRST, &cluster, &fixture::empty(), &make_volume(&cluster, Slot::pd(0)));
}

#[test]
fn volume_lost() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    lose(&mut world, Slot::tikv(1));
    lose(&mut world, Slot::pd(1));
    holds(&VOLUME_LOST, &cluster, &world, &make_volume(&cluster, Slot::tikv(1)));
    holds(&VOLUME_LOST, &cluster, &world, &make_volume(&cluster, Slot::pd(1)));
    allows(&VOLUME_LOST, &cluster, &world, &make_volume(&cluster, Slot::tikv(3)));
    fixture::pd_of(&mut world).stores.clear();
    allows(&VOLUME_LOST, &cluster, &world, &make_volume(&cluster, Slot::tikv(1)));
}

#[test]
fn stores_vanished() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let step = make_volume(&cluster, Slot::tikv(3));
    allows(&STORES_VANISHED, &cluster, &world, &step);
    fixture::pd_of(&mut world).stores.clear();
    holds(&STORES_VANISHED, &cluster, &world, &step);
    world.volumes.retain(|_, v| v.marks.store.is_none());
    allows(&STORES_VANISHED, &cluster, &world, &step);
}

#[test]
fn pd_joins_one_at_a_time() {
    let cluster = fixture::cluster(json!({"pd": {"replicas": 5}}));
    let mut world = fixture::settled(&cluster);
    for ordinal in [3, 4] {
        lose(&mut world, Slot::pd(ordinal));
        let id = fixture::pd_member(ordinal).id;
        fixture::pd_of(&mut world).members.remove(&id);
    }
    let step = make_volume(&cluster, Slot::pd(3));
    allows(&PD_JOINS_ONE_AT_A_TIME, &cluster, &world, &step);
    // Not both in the same pass.
    let second = make_volume(&cluster, Slot::pd(4));
    holds(&PD_JOINS_ONE_AT_A_TIME, &cluster, &world, &second);
    let mut joining = world.clone();
    joining.pods.insert(Slot::pd(3), fixture::pod(&cluster, Slot::pd(3)));
    holds(&PD_JOINS_ONE_AT_A_TIME, &cluster, &joining, &second);
    for change in [|m: &mut PdMember| m.healthy = false, |m: &mut PdMember| m.name.clear()] {
        let mut sick = world.clone();
        let first = fixture::pd_member(0).id;
        change(fixture::pd_of(&mut sick).members.get_mut(&first).expect("a member"));
        holds(&PD_JOINS_ONE_AT_A_TIME, &cluster, &sick, &step);
    }
}

#[test]
fn volume_deletion_is_proven() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let name = "tikv-c-tikv-0".to_owned();
    let mut world = fixture::settled(&cluster);
    world.pods.clear();
    let uid = fixture::volume(Slot::tikv(0)).uid;
    let step = Step::DeleteVolume { name: name.clone(), uid, version: "1".into() };
    holds(&VOLUME_DELETION_IS_PROVEN, &cluster, &world, &step);
    world.resource.deleting_since = Some(fixture::now());
    allows(&VOLUME_DELETION_IS_PROVEN, &cluster, &world, &step);
    holds(&VOLUME_DELETION_IS_PROVEN, &three(), &world, &step);
    let (uid, version) = (Uid("another".into()), "1".into());
    let other = Step::DeleteVolume { name: name.clone(), uid, version };
    holds(&VOLUME_DELETION_IS_PROVEN, &cluster, &world, &other);
    let mut used = world.clone();
    used.pods.insert(Slot::tikv(0), fixture::pod(&cluster, Slot::tikv(0)));
    holds(&VOLUME_DELETION_IS_PROVEN, &cluster, &used, &step);
    let marks = &mut world.volumes.get_mut(&name).expect("a volume").marks;
    marks.resource = Some(Uid("an earlier resource".into()));
    holds(&VOLUME_DELETION_IS_PROVEN, &cluster, &world, &step);
}

#[test]
fn every_rule_has_its_table_here() {
    let tables = [
        include_str!("tests.rs"),
        include_str!("tests/stores.rs"),
        include_str!("tests/restarts.rs"),
        include_str!("tests_pd.rs"),
        include_str!("tests_pd/removed.rs"),
        include_str!("tests_config.rs"),
        include_str!("tests/failover.rs"),
        include_str!("tests/suspend.rs"),
        include_str!("tests/proofs.rs"),
        include_str!("tests/waits.rs"),
    ];
    for rule in RULES {
        let name = format!("fn {}()", rule.name.replace('-', "_"));
        assert!(tables.iter().any(|text| text.contains(&name)), "no table for {}", rule.name);
        assert!(rule.guard.is_none() || !rule.holds_planner, "{} holds both", rule.name);
    }
}

#[test]
fn names_are_unique_kebab_case_and_documented() {
    let names: std::collections::BTreeSet<_> = RULES.iter().map(|r| r.name).collect();
    assert_eq!(names.len(), RULES.len());
    for rule in RULES {
        let kebab = rule.name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(kebab, "{}", rule.name);
        assert!(rule.doc.ends_with('.') && rule.doc.len() > 30, "{}", rule.name);
    }
}
