//! Does the auditor have teeth? Broken operators, each of which must be caught.
//!
//! A broken operator is the real one with one mistake. Each is caught within a few random
//! histories, or in the one situation that it is made for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use tikv_operator_api::v1alpha1::TikvClusterStatus;
use tikv_operator_core::build;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Plan, Step, plan};
use tikv_operator_core::report::{Outcome, report};
use tikv_operator_core::world::{Component, Kind, ObjectKey, PdView, Slot, Uid, World};
use tikv_operator_sim::harness::Harness;
use tikv_operator_sim::history;
use tikv_operator_sim::kube::{Key, Propagation, name_of};
use tikv_operator_sim::operator::{Brain, Planner, Reporter};

/// Random histories that a broken operator has to get caught in.
const SEEDS: u64 = 40;

fn with_plan(plan: Planner) -> Brain {
    Brain { plan, ..Brain::default() }
}

fn with_report(report: Reporter) -> Brain {
    Brain { report, ..Brain::default() }
}

#[track_caller]
fn caught_in_histories(brain: Brain, finding: &str) {
    let mut others = Vec::new();
    for seed in 0..SEEDS {
        let verdict = history::run(seed, |harness| harness.brain = brain);
        if verdict.findings.iter().any(|found| found.contains(finding)) {
            return;
        }
        others.extend(verdict.findings);
    }
    panic!("not caught within {SEEDS} seeds; found instead: {others:?}");
}

#[track_caller]
fn caught_in(brain: Brain, finding: &str, situation: impl Fn(&mut Harness)) {
    let mut harness = Harness::new(1);
    harness.brain = brain;
    situation(&mut harness);
    let findings: Vec<String> = harness.auditor.findings.iter().map(ToString::to_string).collect();
    assert!(findings.iter().any(|found| found.contains(finding)), "found instead: {findings:?}");
    let mut sound = Harness::new(1);
    situation(&mut sound);
    assert!(sound.auditor.findings.is_empty(), "the sound one too: {:?}", sound.auditor.findings);
}

fn born(harness: &mut Harness) {
    harness.create("c", &json!({"pd": {"replicas": 3}, "tikv": {"replicas": 3}})).unwrap();
    harness.settle(600).expect("settles");
}

#[test]
fn one_that_gives_no_uids() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        for step in &mut plan.steps {
            match step {
                Step::Apply { uid, .. }
                | Step::Prune { uid, .. }
                | Step::MarkVolume { uid, .. }
                | Step::DeletePod { uid, .. }
                | Step::DeleteVolume { uid, .. } => *uid = Uid(String::new()),
                _ => {}
            }
        }
        plan
    }
    caught_in_histories(with_plan(broken), "carries no uid");
}

#[test]
fn one_that_starts_stores_before_the_id_is_recorded() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut believed = world.clone();
        if let PdView::Known(facts) = &world.pd {
            believed.resource.status.cluster_id = Some(facts.cluster_id.to_string());
        }
        plan(cluster, &believed)
    }
    caught_in_histories(with_plan(broken), "recorded before the first store");
}

#[test]
fn one_that_keeps_the_start_mode_of_the_bootstrap() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        let switches = |step: &Step| matches!(step, Step::Apply { object, .. } if object.key.kind == Kind::ConfigMap);
        plan.steps.retain(|step| !switches(step));
        plan
    }
    caught_in(with_plan(broken), "exactly one cluster id", |harness| {
        harness.create("c", &json!({"pd": {"replicas": 3}, "tikv": {"replicas": 3}})).unwrap();
        harness.run(300);
        for n in 0..3 {
            harness.universe.wipe_disk(&format!("pd-c-pd-{n}"));
        }
        harness.run(300);
    });
}

#[test]
fn one_that_switches_to_join_before_every_first_member_has_started() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut believed = world.clone();
        if let PdView::Known(facts) = &mut believed.pd {
            let healthy = |m: &mut tikv_operator_core::world::PdMember| m.healthy = true;
            facts.members.values_mut().for_each(healthy);
        }
        for (name, volume) in &mut believed.volumes {
            if volume.marks.cluster.is_some()
                && name.starts_with("pd-")
                && volume.marks.member.is_none()
            {
                volume.marks.member = Some(tikv_operator_core::world::PdMemberId(1));
            }
        }
        plan(cluster, &believed)
    }
    let mut harness = Harness::new(1);
    harness.brain = with_plan(broken);
    harness.universe.nodes.late.insert("c-pd-2".to_owned(), 200_000);
    harness.create("c", &json!({"pd": {"replicas": 3}, "tikv": {"replicas": 3}})).unwrap();
    assert_eq!(harness.settle(1800), None, "the late member is told to join and aborts for ever");
}

#[test]
fn one_that_bootstraps_again_when_everything_is_lost() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut forgetful = world.clone();
        if !matches!(world.pd, PdView::Known(_)) {
            forgetful.resource.status.cluster_id = None;
            for volume in forgetful.volumes.values_mut() {
                volume.marks.cluster = None;
            }
        }
        plan(cluster, &forgetful)
    }
    caught_in(with_plan(broken), "exactly one cluster id", |harness| {
        born(harness);
        for n in 0..3 {
            let _ = harness.universe.kube.delete(&Key::new("Pod", &format!("c-pd-{n}")), None);
            let claim = Key::new("PersistentVolumeClaim", &format!("pd-c-pd-{n}"));
            let _ = harness.universe.kube.delete(&claim, None);
        }
        harness.run(600);
    });
}

#[test]
fn one_that_mounts_a_foreign_volume() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        let taken = ObjectKey::new(Kind::PersistentVolumeClaim, Slot::pd(1).claim_name("c"));
        if world.strangers.contains_key(&taken) && !world.pods.contains_key(&Slot::pd(1)) {
            plan.steps.push(Step::Create(build::pod(cluster, Slot::pd(1))));
        }
        plan
    }
    caught_in(with_plan(broken), "foreign volume", |harness| {
        let claim = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "pd-c-pd-1"}});
        harness.universe.kube.create(claim).unwrap();
        harness.create("c", &json!({"pd": {"replicas": 3}, "tikv": {"replicas": 3}})).unwrap();
        harness.run(120);
    });
}

#[test]
fn one_that_takes_over_what_is_not_ours() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        for key in world.strangers.keys().filter(|key| key.kind == Kind::Service) {
            plan.steps.insert(0, Step::Prune { key: key.clone(), uid: Uid("uid-0001".to_owned()) });
        }
        plan
    }
    caught_in(with_plan(broken), "not ours", |harness| {
        let service = json!({"kind": "Service", "metadata": {"name": "c-pd"}, "spec": {}});
        harness.universe.kube.create(service).unwrap();
        harness.create("c", &json!({"pd": {"replicas": 1}, "tikv": {"replicas": 1}})).unwrap();
        harness.run(120);
    });
}

#[test]
fn one_that_starts_a_member_afresh_by_deleting_its_volume() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        for (name, volume) in &world.volumes {
            if volume.slot.component == Component::Tikv && !world.pods.contains_key(&volume.slot) {
                plan.steps.push(Step::DeleteVolume {
                    name: name.clone(),
                    uid: volume.uid.clone(),
                    version: volume.version.clone(),
                });
            }
        }
        plan
    }
    caught_in_histories(with_plan(broken), "it was not retired");
}

#[test]
fn one_that_restarts_everything_at_once() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        if cluster.generation > 1 && matches!(world.pd, PdView::Known(_)) {
            for (slot, pod) in world.pods.iter().filter(|(_, pod)| pod.containers_ready) {
                let name = slot.pod_name(&world.resource.name);
                let reason = "spec changed".to_owned();
                plan.steps.push(Step::DeletePod { name, uid: pod.uid.clone(), reason });
            }
        }
        plan
    }
    caught_in(with_plan(broken), "I2", |harness| {
        born(harness);
        harness.edit("c", &["tikv", "replicas"], json!(4));
        harness.run(60);
    });
}

#[test]
fn one_that_says_nothing_while_it_waits() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        Plan { waits: Vec::new(), ..plan(cluster, world) }
    }
    caught_in_histories(with_plan(broken), "no silent stall");
}

#[test]
fn one_that_never_comes_to_rest() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        let service = ObjectKey::new(Kind::Service, "c-pd");
        if let Some(facts) = world.objects.get(&service) {
            let body = json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "c-pd", "annotations": {"seen": world.now.to_string()}},
            });
            let object = tikv_operator_core::world::Object { key: service, body };
            plan.steps.push(Step::Apply { object, uid: facts.uid.clone() });
            plan.wake = Duration::from_secs(10);
        }
        plan
    }
    let mut harness = Harness::new(1);
    harness.brain = with_plan(broken);
    harness.create("c", &json!({"pd": {"replicas": 1}, "tikv": {"replicas": 1}})).unwrap();
    harness.run(200);
    let problem = harness.stay_quiet(60).unwrap_err();
    assert!(problem.contains("first apply of Service c-pd"), "{problem}");
}

#[test]
fn one_that_never_lets_go_of_a_deleted_resource() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        plan.steps.retain(|step| *step != Step::ReleaseFinalizer);
        plan
    }
    caught_in_histories(with_plan(broken), "not at rest");
}

#[test]
fn one_that_does_not_restore_services() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        let known = world.resource.status.cluster_id.is_some();
        let makes =
            |step: &Step| matches!(step, Step::Create(object) if object.key.kind == Kind::Service);
        plan.steps.retain(|step| !(known && makes(step)));
        plan
    }
    caught_in_histories(with_plan(broken), "not at rest");
}

#[test]
fn one_that_calls_everything_ready() {
    fn broken(
        cluster: &Cluster,
        world: &World,
        plan: &Plan,
        outcomes: &[Outcome],
    ) -> TikvClusterStatus {
        let mut status = report(cluster, world, plan, outcomes).0;
        for condition in &mut status.conditions {
            if condition.type_ == "Ready" {
                condition.status = "True".to_owned();
            }
        }
        status
    }
    let mut harness = Harness::new(1);
    harness.brain = with_report(broken);
    harness.universe.nodes.late.insert("c-pd-1".to_owned(), 900_000);
    harness.universe.nodes.late.insert("c-pd-2".to_owned(), 900_000);
    harness.create("c", &json!({"pd": {"replicas": 3}, "tikv": {"replicas": 3}})).unwrap();
    harness.run(120);
    harness.auditor.at_rest(&harness.universe, "c");
    let findings = &harness.auditor.findings;
    assert!(findings.iter().any(|f| f.invariant.contains("I13")), "{findings:?}");
}

#[test]
fn one_that_forgets_the_cluster_id() {
    fn broken(
        cluster: &Cluster,
        world: &World,
        plan: &Plan,
        outcomes: &[Outcome],
    ) -> TikvClusterStatus {
        let status = report(cluster, world, plan, outcomes).0;
        TikvClusterStatus { cluster_id: None, ..status }
    }
    caught_in_histories(with_report(broken), "exactly one cluster id");
}

#[test]
fn the_volumes_of_another_are_named_in_the_findings() {
    // The sound operator leaves a stranger's volume alone; it is still there afterwards.
    let mut harness = Harness::new(1);
    let claim = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "tikv-c-tikv-0"}});
    harness.universe.kube.create(claim.clone()).unwrap();
    harness.create("c", &json!({"pd": {"replicas": 1}, "tikv": {"replicas": 1}})).unwrap();
    harness.run(120);
    let found = harness.universe.kube.get("PersistentVolumeClaim", "tikv-c-tikv-0").unwrap();
    assert_eq!(name_of(found), "tikv-c-tikv-0");
    assert!(found.pointer("/metadata/annotations").is_none());
}

#[test]
fn one_that_counts_delays_by_the_wall_clock() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut believed = world.clone();
        if let PdView::Known(facts) = &world.pd {
            let heard = facts.stores.values().filter_map(|store| store.last_heartbeat).max();
            let ahead = heard.map(|at| world.now.duration_since(at)).unwrap_or_default();
            if ahead > SignedDuration::from_mins(1) {
                believed.seen_for.values_mut().for_each(|seen| *seen += ahead);
            }
        }
        plan(cluster, &believed)
    }
    caught_in(with_plan(broken), "F59 only what is lost for failover.after", |harness| {
        harness.create("c", &json!({"pd": {"replicas": 1}, "tikv": {"replicas": 4}})).unwrap();
        harness.settle(600).expect("settles");
        harness.universe.lose_volume("tikv-c-tikv-3");
        harness.universe.kube.delete(&Key::new("Pod", "c-tikv-3"), None).unwrap();
        harness.run(90);
        harness.operators[0].clock_off = SignedDuration::from_hours(1);
        harness.run(120);
    });
}

#[test]
fn one_that_repairs_what_is_being_deleted() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut believed = world.clone();
        believed.resource.deleting_since = None;
        plan(cluster, &believed)
    }
    caught_in(with_plan(broken), "F25 nothing is made", |harness| {
        born(harness);
        let key = Key::new("TikvCluster", "c");
        harness.universe.kube.delete_owner(&key, Propagation::Foreground);
        harness.run(60);
    });
}

#[test]
fn one_that_applies_what_is_changed_back_for_ever() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let believed = World { applied: [].into(), ..world.clone() };
        plan(cluster, &believed)
    }
    caught_in(with_plan(broken), "F20 what others change back", |harness| {
        let place = "/metadata/labels/app.kubernetes.io~1managed-by".to_owned();
        harness.universe.kube.webhooks.push(("Service".to_owned(), place, json!("platform")));
        harness.create("c", &json!({"pd": {"replicas": 1}, "tikv": {"replicas": 1}})).unwrap();
        harness.run(120);
    });
}

#[test]
fn one_that_sets_nothing_in_stores() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        plan.steps.retain(|step| !matches!(step, Step::SetStoreConfig { .. }));
        plan
    }
    let finding = "raftstore.raft-log-gc-threshold 50, not 70";
    caught_in(with_plan(broken), finding, |harness| {
        born(harness);
        let config = json!({"raftstore": {"raft-log-gc-threshold": 70}});
        harness.edit("c", &["tikv", "config"], config);
        harness.run(120);
        harness.stay_quiet(60).expect("writes nothing");
    });
}

#[test]
fn one_that_lets_a_further_volume_stay_small() {
    fn broken(cluster: &Cluster, world: &World) -> Plan {
        let mut plan = plan(cluster, world);
        plan.steps.retain(|step| {
            !matches!(step, Step::ResizeVolume { name, .. } if name.starts_with("tikv-wal-"))
        });
        plan
    }
    let volumes = |size: &str| json!([{"name": "wal", "storageSize": size, "mountPath": "/wal"}]);
    caught_in(with_plan(broken), "asks for 1Gi, not 2Gi", |harness| {
        let tikv = json!({"replicas": 3, "storageVolumes": volumes("1Gi")});
        harness.create("c", &json!({"pd": {"replicas": 1}, "tikv": tikv})).unwrap();
        harness.settle(600).expect("settles");
        harness.edit("c", &["tikv", "storageVolumes"], volumes("2Gi"));
        harness.run(120);
        harness.stay_quiet(60).expect("writes nothing");
    });
}
