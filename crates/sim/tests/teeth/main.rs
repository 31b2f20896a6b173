//! Does the auditor have teeth? Broken operators, each of which must be caught.
//!
//! A broken operator is the real one with one mistake. Most are caught by random histories: the
//! table names a seed for each, and where that one does not catch it any more, others are tried
//! (`-- --nocapture` prints them). The others are caught in the one situation that they are made for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

mod believers;
mod joins;
mod mistakes;
mod planners;
mod runners;

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use tikv_operator_api::v1alpha1::TikvClusterStatus;
use tikv_operator_core::build;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Plan, Step, plan};
use tikv_operator_core::report::{Outcome, report};
use tikv_operator_core::world::{Kind, ObjectKey, PdView, Slot, World};
use tikv_operator_sim::failure::{again, describe};
use tikv_operator_sim::harness::Harness;
use tikv_operator_sim::history;
use tikv_operator_sim::kube::{Key, Propagation, name_of};
use tikv_operator_sim::operator::{Brain, Planner, Reporter};
use tikv_operator_sim::queue::each;

/// Random histories within which a broken operator must get caught.
const SEEDS: u64 = 2000;

fn with_plan(plan: Planner) -> Brain {
    Brain { plan, ..Brain::default() }
}

fn with_report(report: Reporter) -> Brain {
    Brain { report, ..Brain::default() }
}

/// What it does wrong, how, what is found, and a seed that catches it.
type Tooth = (&'static str, Planner, &'static str, u64);

#[rustfmt::skip]
const TEETH: &[Tooth] = &[
    ("gives no uids", planners::gives_no_uids, "carries no uid", 0),
    ("takes over what is not ours", planners::takes_over_what_is_not_ours, "not ours", 9),
    ("starts afresh by deleting volumes", planners::starts_afresh_by_deleting_volumes, "it was not retired", 0),
    ("restarts everything at once", planners::restarts_everything_at_once, "I2 one voluntary disruption", 1),
    ("restarts for no reason", planners::restarts_for_no_reason, "scenario 9", 1),
    ("says nothing while it waits", planners::says_nothing_while_it_waits, "no silent stall", 0),
    ("never lets go of a resource", planners::never_lets_go_of_a_resource, "not at rest", 0),
    ("does not restore services", planners::does_not_restore_services, "not at rest", 18),
    ("never ends an eviction", planners::never_ends_an_eviction, "leaders are still evicted", 13),
    ("never unlocks", planners::never_unlocks, "is still held", 1),
    ("writes no intent", planners::writes_no_intent, "I1 the intent", 2),
    ("retires what is still offline", planners::retires_what_is_still_offline, "I1 nothing is removed", 13),
    ("takes pods before they are drained", planners::takes_pods_before_they_are_drained, "scenario 42", 13),
    ("begins at the end", planners::begins_at_the_end, "F19 a pod is made", 0),
    ("removes PD members that do not answer", planners::removes_pd_members_that_do_not_answer, "I3 never fewer PD voters", 20),
    ("removes silent stores", planners::removes_silent_stores, "I1 the intent", 24),
    ("passes leadership round", planners::passes_leadership_round, "scenario 22", 0),
    ("mounts one volume twice", planners::mounts_one_volume_twice, "F38", 0),
    ("undoes what users began", planners::undoes_what_users_began, "was put there by a user", 189),
    ("prunes the configuration in use", planners::prunes_the_configuration_in_use, "not at rest", 1),
    ("makes pods with the new image", planners::makes_pods_with_the_new_image, "runs the image of before", 57),
    ("sees no gate", believers::sees_no_gate, "before its gate opens", 2),
    ("starts stores before the id is recorded", believers::starts_stores_before_the_id_is_recorded, "recorded before the first store", 1),
    ("acts on an old view", believers::acts_on_an_old_view, "I", 45),
    ("has no patience", believers::has_no_patience, "F59 only what is lost", 21),
    ("takes every region for safe", believers::takes_every_region_for_safe, "I2 no voluntary", 16),
    ("takes every member for healthy", believers::takes_every_member_for_healthy, "I2 ", 1),
    ("sees no lock", believers::sees_no_lock, "lock of others", 64),
    ("mistakes PD's leader", believers::mistakes_pds_leader, "scenario 22", 1),
    ("takes PD for updated", believers::takes_pd_for_updated, "scenario 21", 4),
    ("forgets its replacements", believers::forgets_its_replacements, "I3 no more replacements", 92),
    ("takes every node for ready", believers::takes_every_node_for_ready, "F40", 92),
    ("sees endless room", believers::sees_endless_room, "F65", 64),
    ("takes every tombstone for its own", believers::takes_every_tombstone_for_its_own, "I1 nothing is removed", 13),
];

/// What no random history has caught so far; `OPEN=1` looks for them too. What PD said last is asked of
/// PD again before a call that it takes, and PD refuses one store less than it has replicas; leaders that
/// stay where they are to leave, and a slot that is used again, are rare.
#[rustfmt::skip]
const OPEN: &[Tooth] = &[
    ("trusts what PD said last", believers::trusts_what_pd_said_last, "I2 ", 0),
    ("sees no leaders", believers::sees_no_leaders, "scenario 28", 0),
    ("uses retired volumes", believers::uses_retired_volumes, "I1 a retired volume", 0),
    ("needs one replica", believers::needs_one_replica, "I3 never fewer stores", 0),
];

/// Is it caught in this history?
fn is_caught(brain: Brain, finding: &str, seed: u64) -> bool {
    believers::forget();
    is_found(finding, seed, |harness| harness.brain = brain)
}

/// Is this found in the history of a seed, with other parts of the operator?
fn is_found(finding: &str, seed: u64, other: impl Fn(&mut Harness)) -> bool {
    let prepare = |harness: &mut Harness| {
        other(harness);
        harness.stops_at = Some(finding.to_owned());
    };
    history::run(seed, prepare).findings.iter().any(|found| found.contains(finding))
}

/// The first seed in whose history this is found, the known one before all others.
fn found_by(known: u64, finding: &str, other: impl Fn(&mut Harness), seeds: u64) -> Option<u64> {
    [known].into_iter().chain(0..seeds).find(|seed| is_found(finding, *seed, &other))
}

/// The first seed that catches it, the one of the table before all others; `SEEDS=n` for fewer.
fn caught_by(known: u64, brain: Brain, finding: &str) -> Option<u64> {
    let seeds = std::env::var("SEEDS").ok().and_then(|number| number.parse().ok());
    let others = 0..seeds.unwrap_or(SEEDS);
    [known].into_iter().chain(others).find(|seed| is_caught(brain, finding, *seed))
}

#[test]
fn every_broken_operator_is_caught_by_a_random_history() {
    assert!(TEETH.len() >= 25, "{} teeth", TEETH.len());
    let only = std::env::var("ONLY").unwrap_or_default();
    let open = if std::env::var_os("OPEN").is_some() { OPEN } else { &[] };
    let teeth = TEETH.iter().chain(open).filter(|tooth| tooth.0.contains(&only));
    let teeth: Vec<&Tooth> = teeth.collect();
    let loose = each(&teeth, |(name, plan, finding, known)| {
        let seed = caught_by(*known, with_plan(*plan), finding);
        let words = format!("one that {name}: {finding}");
        match seed {
            Some(seed) => eprintln!("{words}: seed {seed}, in the table {known}"),
            None => eprintln!("{words}: not caught"),
        }
        seed.is_none().then_some(words)
    });
    let loose: Vec<String> = loose.into_iter().flatten().collect();
    assert!(loose.is_empty(), "not caught within {SEEDS} seeds: {loose:#?}");
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
    assert!(is_caught(with_report(broken), "exactly one cluster id", 0));
}

#[test]
fn a_run_that_ends_badly_says_what_which_step_which_rule_and_how_to_have_it_again() {
    let brain = with_plan(planners::starts_afresh_by_deleting_volumes);
    let finding = "it was not retired";
    let seed = caught_by(0, brain, finding).unwrap();
    let verdict = history::run(seed, |harness| {
        harness.brain = brain;
        harness.stops_at = Some(finding.to_owned());
    });
    let text = describe(&verdict, &again(seed));
    for part in [
        "I1 nothing is removed for good that may still be needed",
        " s: delete PersistentVolumeClaim tikv-",
        "should have been stopped by: ",
        "volume-deletion-is-proven",
        &format!("again: cargo xtask sim --seed {seed}"),
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
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
