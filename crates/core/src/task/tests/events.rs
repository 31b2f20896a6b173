//! Which change of a cluster is which event?

use jiff::SignedDuration;
use serde_json::json;
use tikv_operator_api::v1alpha1::{Drift, StoreStatus, UpgradeStatus, WaitStatus};

use super::super::fixture::{Stage, task};
use super::*;
use crate::fixture;
use crate::world::StoreState;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A stage with a task that hears of these and makes a call.
fn stage(events: &[&str]) -> Stage {
    Stage::new(&json!({
        "events": events,
        "run": {"http": {"url": "http://a"}},
        "concurrencyPolicy": "Allow",
    }))
}

/// What happens when the stage is changed like this, in the words of the runs.
fn happens(stage: &mut Stage, change: impl FnOnce(&mut Stage)) -> Vec<String> {
    let before = stage.runs().len();
    change(stage);
    stage.pass();
    let new = stage.runs().iter().skip(before);
    new.map(|run| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!(
            "{} {} {} {}>{}",
            run.event.map_or("-", TaskEvent::as_str),
            text(&run.subject),
            text(&run.pod),
            text(&run.from),
            text(&run.to)
        )
    })
    .collect()
}

fn wait(rule: &str, subject: &str) -> WaitStatus {
    WaitStatus { subject: subject.into(), rule: rule.into(), detail: "because".into(), since: None }
}

fn c(stage: &mut Stage) -> &mut ClusterView {
    stage.world.clusters.get_mut("c").expect("a cluster")
}

#[test]
fn what_is_so_at_the_first_look_is_no_event() {
    let all: Vec<&str> = TaskEvent::ALL.iter().map(|event| event.as_str()).collect();
    let mut stage = Stage::unseen(&json!({"events": all}));
    stage.store(1).state = StoreState::Down;
    stage.report_cluster();
    c(&mut stage).status.cordoned_nodes = vec!["node-1".into()];
    stage.pass();
    stage.pass();
    assert_eq!(stage.runs(), []);
}

#[test]
fn a_store_is_down_once_and_back_once() {
    let mut stage = stage(&["StoreDown", "StoreBack"]);
    let down = happens(&mut stage, |stage| {
        stage.store(2).state = StoreState::Down;
        stage.report_cluster();
    });
    assert_eq!(down, ["StoreDown 2 c-tikv-1 >"]);
    // PD is silent: unknown is never gone, nor is it back.
    let silent = happens(&mut stage, |stage| {
        c(stage).status.tikv.as_mut().expect("stores").stores.iter_mut().for_each(|s| s.id = None);
    });
    assert!(silent.is_empty(), "{silent:?}");
    let again = happens(&mut stage, Stage::report_cluster);
    assert!(again.is_empty(), "{again:?}");
    let back = happens(&mut stage, |stage| {
        stage.store(2).state = StoreState::Up;
        stage.report_cluster();
    });
    assert_eq!(back, ["StoreBack 2 c-tikv-1 >"]);
}

#[test]
fn a_store_that_is_silent_for_a_moment_is_not_down() {
    let mut stage = stage(&["StoreDown", "StoreBack"]);
    let silent = |stage: &mut Stage| {
        stage.store(2).state = StoreState::Disconnected;
        stage.report_cluster();
    };
    assert!(happens(&mut stage, silent).is_empty());
    let plan = plan(&stage.task, &stage.world);
    assert!(plan.wake <= std::time::Duration::from_mins(1), "{:?}", plan.wake);
    stage.wait(SignedDuration::from_secs(59));
    assert!(happens(&mut stage, silent).is_empty());
    stage.wait(SignedDuration::from_secs(2));
    assert_eq!(happens(&mut stage, silent), ["StoreDown 2 c-tikv-1 >"]);
}

#[test]
fn a_lost_store_is_replaced_when_it_is_gone_and_the_new_one_is_up() {
    let mut stage = stage(&["StoreReplaced"]);
    let of = |stage: &mut Stage, change: &dyn Fn(&mut Vec<StoreStatus>)| {
        happens(stage, |stage| {
            change(&mut c(stage).status.tikv.as_mut().expect("stores").stores);
        })
    };
    assert!(of(&mut stage, &|s| s[0].replaced_by = Some("c-tikv-3".into())).is_empty());
    assert!(
        of(&mut stage, &|s| {
            let mut new = s[1].clone();
            (new.id, new.pod) = (Some("9".into()), Some("c-tikv-3".into()));
            s.push(new);
        })
        .is_empty()
    );
    assert!(of(&mut stage, &|s| s.iter_mut().for_each(|s| s.id = None)).is_empty(), "silence");
    assert_eq!(of(&mut stage, &whole), ["StoreReplaced 1 c-tikv-3 1>9"]);
    assert!(of(&mut stage, &|_| ()).is_empty());
}

fn whole(s: &mut Vec<StoreStatus>) {
    for (store, id) in s.iter_mut().zip(["1", "2", "3", "9"]) {
        store.id = Some(id.into());
    }
    s.remove(0);
}

#[test]
fn a_disk_that_fills_is_told_of_at_each_step() {
    let mut stage = stage(&["DiskAlmostFull"]);
    let mut used = |percent: u64| {
        happens(&mut stage, |stage| {
            let store = stage.store(1);
            (store.capacity, store.available) = (Some(1000), Some(1000 - percent * 10));
            stage.report_cluster();
        })
    };
    assert!(used(79).is_empty());
    assert_eq!(used(81), ["DiskAlmostFull 1 c-tikv-0 >80"]);
    assert!(used(79).is_empty());
    assert!(used(82).is_empty());
    assert_eq!(used(92), ["DiskAlmostFull 1 c-tikv-0 80>90"]);
    assert!(used(50).is_empty());
    assert_eq!(used(80), ["DiskAlmostFull 1 c-tikv-0 >80"]);
}

#[test]
fn a_pd_member_is_lost_after_a_minute() {
    let mut stage = stage(&["PdMemberLost"]);
    let sick = |stage: &mut Stage| {
        let facts = fixture::pd_of(&mut stage.cluster);
        facts.members.values_mut().nth(1).expect("a member").healthy = false;
        stage.report_cluster();
    };
    assert!(happens(&mut stage, sick).is_empty());
    stage.wait(MINUTE);
    assert_eq!(happens(&mut stage, sick), ["PdMemberLost c-pd-1 c-pd-1 >"]);
    stage.wait(MINUTE);
    assert!(happens(&mut stage, sick).is_empty());
}

#[test]
fn another_leader_is_an_event_each_time() {
    let mut stage = stage(&["PdLeaderChanged"]);
    let mut leads = |id: Option<u64>| {
        happens(&mut stage, |stage| {
            let id = id.unwrap_or_default();
            fixture::pd_of(&mut stage.cluster).leader.id = crate::world::PdMemberId(id);
            stage.report_cluster();
        })
    };
    assert!(leads(Some(101)).is_empty());
    assert_eq!(leads(Some(102)), ["PdLeaderChanged c-pd-1 c-pd-1 c-pd-0>c-pd-1"]);
    assert!(leads(None).is_empty(), "nobody is known to lead");
    assert!(leads(Some(102)).is_empty());
    assert!(leads(None).is_empty());
    assert_eq!(leads(Some(103)), ["PdLeaderChanged c-pd-2 c-pd-2 c-pd-1>c-pd-2"], "meanwhile");
    assert_eq!(leads(Some(102)), ["PdLeaderChanged c-pd-1 c-pd-1 c-pd-2>c-pd-1"]);
    assert_eq!(leads(Some(101)), ["PdLeaderChanged c-pd-0 c-pd-0 c-pd-1>c-pd-0"]);
}

#[test]
fn a_change_of_size_starts_and_ends() {
    let mut stage = stage(&["ScaleStarted", "ScaleFinished"]);
    let started = happens(&mut stage, |stage| c(stage).tikv_wanted = Some(4));
    assert_eq!(started, ["ScaleStarted tikv  3>4"]);
    assert!(happens(&mut stage, |_| ()).is_empty());
    let finished = happens(&mut stage, |stage| {
        let stores = &mut c(stage).status.tikv.as_mut().expect("stores").stores;
        let mut new = stores[0].clone();
        (new.id, new.pod) = (Some("9".into()), Some("c-tikv-3".into()));
        stores.push(new);
    });
    assert_eq!(finished, ["ScaleFinished tikv  3>4"]);
    let members = happens(&mut stage, |stage| c(stage).pd_wanted = Some(1));
    assert_eq!(members, ["ScaleStarted pd  3>1"]);
    // Taken back before anything was done.
    let back = happens(&mut stage, |stage| c(stage).pd_wanted = Some(3));
    assert_eq!(back, ["ScaleStarted pd  3>3"]);
    assert_eq!(happens(&mut stage, |_| ()), ["ScaleFinished pd  3>3"]);
}

#[test]
fn waits_of_the_cluster_are_events_once_while_they_last() {
    for (event, rule, subject, want) in [
        ("ScaleRefused", "stores-fit-max-replicas", "c-tikv-2", "ScaleRefused c-tikv-2  >"),
        ("ScaleRefused", "stores-have-room", "c-tikv-2", "ScaleRefused c-tikv-2  >"),
        ("PdQuorumLost", "pd-quorum-lost", "c", "PdQuorumLost c  >"),
    ] {
        let mut stage = stage(&[event]);
        let waits = vec![wait(rule, subject)];
        for round in 0..2 {
            let raised = happens(&mut stage, |stage| c(stage).status.waits = waits.clone());
            assert_eq!(raised, [want], "{rule} {round}");
            assert!(happens(&mut stage, |_| ()).is_empty());
            assert!(happens(&mut stage, |stage| c(stage).status.waits.clear()).is_empty());
        }
        assert!(happens(&mut stage, |s| c(s).status.waits = vec![wait("paused", "c")]).is_empty());
    }
}

#[test]
fn a_spec_that_is_refused_is_no_change_of_size() {
    let mut stage = stage(&["ScaleStarted", "ScaleFinished"]);
    for wanted in [None, Some(3), None, Some(3)] {
        let raised = happens(&mut stage, |stage| c(stage).tikv_wanted = wanted);
        assert!(raised.is_empty(), "{raised:?}");
    }
    let started = happens(&mut stage, |stage| c(stage).tikv_wanted = Some(4));
    assert_eq!(started, ["ScaleStarted tikv  3>4"]);
}

/// What is not said is not gone: the operator stopped before it came to that.
#[test]
fn what_is_not_said_for_a_moment_is_told_once() {
    let mut stage = stage(&["ScaleRefused", "PdQuorumLost", "ConfigDrift"]);
    let refused = vec![wait("stores-have-room", "c-tikv-2"), wait("pd-quorum-lost", "c")];
    let leads = |stage: &mut Stage, leads: bool| {
        let members = &mut c(stage).status.pd.as_mut().expect("members").members;
        for member in members.iter_mut() {
            member.leader = leads && member.name == "c-pd-0";
        }
    };
    let first = happens(&mut stage, |stage| {
        leads(stage, false);
        c(stage).tikv_wanted = Some(2);
        c(stage).status.waits = refused.clone();
    });
    assert_eq!(first, ["PdQuorumLost c  >", "ScaleRefused c-tikv-2  >"]);
    for _ in 0..3 {
        assert!(happens(&mut stage, |s| c(s).status.waits = vec![wait("paused", "c")]).is_empty());
        assert!(happens(&mut stage, |s| c(s).status.waits = refused.clone()).is_empty());
    }
    // Another number is another question; a leader is an answer.
    assert!(
        happens(&mut stage, |stage| {
            leads(stage, true);
            c(stage).tikv_wanted = Some(1);
            c(stage).status.waits.clear();
        })
        .is_empty()
    );
    assert_eq!(happens(&mut stage, |s| c(s).status.waits = refused.clone()).len(), 2);
    let drift = |n: usize| Drift {
        subject: "pd".into(),
        key: format!("key-{n:02}"),
        wanted: "1".into(),
        live: "2".into(),
    };
    let listed = |from: usize| (from..from + 20).map(drift).collect::<Vec<_>>();
    for (from, new) in [(0, 20), (5, 5), (0, 0)] {
        let before = stage.world.task.status.event_count;
        happens(&mut stage, |stage| c(stage).status.drift = listed(from));
        assert_eq!(stage.world.task.status.event_count - before, new, "{from}");
    }
}

fn upgrade(stage: &Stage, id: &str) -> UpgradeStatus {
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(stage.world.now);
    UpgradeStatus {
        id: id.into(),
        from: "a:1".into(),
        to: "a:2".into(),
        since: now.clone(),
        remaining: 6,
        moved: now,
        finished: None,
    }
}

#[test]
fn an_upgrade_starts_gets_stuck_and_ends() {
    let mut stage = stage(&["UpgradeStarting", "UpgradeStuck", "UpgradeFinished"]);
    let going = upgrade(&stage, "1");
    let started = happens(&mut stage, |s| c(s).status.upgrade = Some(going.clone()));
    assert_eq!(started, ["UpgradeStarting c  a:1>a:2"]);
    stage.wait(SignedDuration::from_mins(29));
    assert!(happens(&mut stage, |_| ()).is_empty());
    stage.wait(MINUTE);
    let held = happens(&mut stage, |s| c(s).status.waits = vec![wait("gate-failed", "c")]);
    assert!(held.is_empty(), "a gate holds it: {held:?}");
    let stuck = happens(&mut stage, |stage| c(stage).status.waits.clear());
    assert_eq!(stuck, ["UpgradeStuck c  a:1>a:2"]);
    assert!(happens(&mut stage, |_| ()).is_empty());
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(stage.world.now);
    let done = UpgradeStatus { finished: Some(now.clone()), ..going };
    let finished = happens(&mut stage, |stage| c(stage).status.upgrade = Some(done));
    assert_eq!(finished, ["UpgradeFinished c  a:1>a:2"]);
    assert!(happens(&mut stage, |_| ()).is_empty());
    // One that began and ended between two looks.
    let short = UpgradeStatus { finished: Some(now), ..upgrade(&stage, "2") };
    let both = happens(&mut stage, |stage| c(stage).status.upgrade = Some(short));
    assert_eq!(both, ["UpgradeStarting c  a:1>a:2", "UpgradeFinished c  a:1>a:2"]);
}

#[test]
fn a_store_with_another_version_was_upgraded() {
    let mut stage = stage(&["StoreUpgraded"]);
    let version = |stage: &mut Stage, version: Option<&str>| {
        happens(stage, |stage| {
            let stores = &mut c(stage).status.tikv.as_mut().expect("stores").stores;
            stores[1].version = version.map(str::to_owned);
        })
    };
    assert!(version(&mut stage, None).is_empty());
    assert_eq!(version(&mut stage, Some("8.5.8")), ["StoreUpgraded 2 c-tikv-1 8.5.7>8.5.8"]);
    assert!(version(&mut stage, Some("8.5.8")).is_empty());
}

#[test]
fn drift_and_cordoned_nodes_are_events_each() {
    let mut stage = stage(&["ConfigDrift", "NodeCordoned"]);
    let drift = Drift {
        subject: "c-tikv-1".into(),
        key: "a.b".into(),
        wanted: "1".into(),
        live: "2".into(),
    };
    let drifted = happens(&mut stage, |stage| c(stage).status.drift = vec![drift]);
    assert_eq!(drifted, ["ConfigDrift c-tikv-1: a.b c-tikv-1 1>2"]);
    let cordon = |stage: &mut Stage| c(stage).status.cordoned_nodes = vec!["n".into()];
    assert_eq!(happens(&mut stage, cordon), ["NodeCordoned n  >"]);
    assert!(happens(&mut stage, cordon).is_empty());
    assert!(happens(&mut stage, |stage| c(stage).status.cordoned_nodes.clear()).is_empty());
    assert_eq!(happens(&mut stage, cordon), ["NodeCordoned n  >"]);
}

#[test]
fn a_condition_that_turned_twice_between_two_looks_is_an_event_again() {
    let mut stage = stage(&["ClusterReady", "ClusterDegraded"]);
    let turn = |stage: &mut Stage, type_: &str, status: &str, at: &str| {
        happens(stage, |stage| {
            let mut conditions = c(stage).status.conditions.iter_mut();
            let condition = conditions.find(|c| c.type_ == type_).expect("a condition");
            condition.status = status.into();
            condition.last_transition_time.0 = at.parse().expect("a time");
        })
    };
    assert!(turn(&mut stage, "Ready", "False", "2026-11-22T12:00:01Z").is_empty());
    assert_eq!(turn(&mut stage, "Ready", "True", "2026-11-22T12:00:02Z"), ["ClusterReady c  >"]);
    assert_eq!(turn(&mut stage, "Ready", "True", "2026-11-22T12:00:04Z"), ["ClusterReady c  >"]);
    assert!(turn(&mut stage, "Ready", "True", "2026-11-22T12:00:04Z").is_empty());
    let degraded = turn(&mut stage, "Degraded", "True", "2026-11-22T12:00:05Z");
    assert_eq!(degraded, ["ClusterDegraded c  >"]);
}

/// A replica that takes over may know less than the one before.
#[test]
fn an_earlier_view_than_was_seen_raises_nothing() {
    let mut stage = stage(&["NodeCordoned"]);
    let see = |stage: &mut Stage, version: u128, nodes: &[&str]| {
        happens(stage, |stage| {
            c(stage).version = Some(version);
            c(stage).status.cordoned_nodes = nodes.iter().map(|&n| n.into()).collect();
        })
    };
    assert_eq!(see(&mut stage, 7, &["n"]), ["NodeCordoned n  >"]);
    assert!(see(&mut stage, 6, &[]).is_empty());
    assert!(see(&mut stage, 7, &["n"]).is_empty());
    assert!(see(&mut stage, 8, &[]).is_empty());
    assert_eq!(see(&mut stage, 10, &["n"]), ["NodeCordoned n  >"]);
}

#[test]
fn only_what_is_asked_for_is_remembered() {
    let stage = stage(&["NodeCordoned"]);
    assert!(stage.world.task.status.clusters[0].marks.is_empty());
    let all: Vec<&str> = TaskEvent::ALL.iter().map(|event| event.as_str()).collect();
    let stage = Stage::new(&json!({"events": all}));
    let marks = &stage.world.task.status.clusters[0].marks;
    let keys: Vec<&str> = marks.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "ClusterReady/c",
            "Leader/c",
            "Size/pd",
            "Size/tikv",
            "Version/1",
            "Version/2",
            "Version/3"
        ]
    );
}

#[test]
fn an_event_that_is_added_starts_nothing_for_what_is_so_already() {
    let with = |events: serde_json::Value| json!({"events": events, "run": {"http": {"url": "https://hooks.example.com/a"}}});
    let mut stage = Stage::new(&with(json!(["PdQuorumLost"])));
    stage.store(2).state = crate::world::StoreState::Down;
    stage.report_cluster();
    stage.pass();
    let all = json!(["PdQuorumLost", "StoreDown", "ClusterReady", "NodeCordoned"]);
    stage.task = task(&with(all));
    assert!(stage.pass().steps.is_empty(), "{:?}", stage.runs());
    assert_eq!(stage.runs(), []);
    stage.store(1).state = crate::world::StoreState::Down;
    stage.report_cluster();
    assert_eq!(stage.pass().steps.len(), 1, "and the next one is told");
}
