//! Does a task start itself?

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::fixture::{Stage, calls, cordon, done, hook, task};
use super::*;

#[test]
fn f78_a_task_does_not_start_itself() {
    let scale = json!({
        "events": ["ScaleStarted", "ScaleFinished"], "serviceAccountName": "a",
        "run": {"scale": {"by": 1}},
    });
    let mut stage = Stage::new(&scale);
    let size = |stage: &mut Stage, wanted| {
        stage.world.clusters.get_mut("c").expect("a cluster").tikv_wanted = Some(wanted);
    };
    size(&mut stage, 4);
    let plan = stage.pass_with(Some(&done()));
    let [TaskStep::Call { call: Call::Scale { replicas, .. }, .. }] = plan.steps.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(*replicas, 5);
    size(&mut stage, 5);
    for _ in 0..5 {
        assert_eq!(calls(&stage.pass_with(Some(&done()))), 0, "that was its own doing");
        stage.wait(SignedDuration::from_secs(1));
    }
    stage.wait(SignedDuration::from_mins(10));
    size(&mut stage, 6);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1, "and this was somebody else's");
    // One that goes round in a way that nobody knows goes no faster than 30 times an hour.
    let mut stage = Stage::new(&hook(&json!({})));
    let mut started = 0;
    for n in 0..200 {
        cordon(&mut stage, n..n + 1);
        started += calls(&stage.pass_with(Some(&done())));
        stage.wait(SignedDuration::from_secs(10));
    }
    assert_eq!(started, 30);
    stage.wait(SignedDuration::from_hours(1));
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1, "what waited is not lost");
}

#[test]
fn f78_own_work_is_known_without_a_history_and_until_it_is_done() {
    let scale = json!({
        "events": ["ScaleFinished", "NodeCordoned"], "serviceAccountName": "a",
        "run": {"scale": {"by": 1}}, "successfulRunsHistoryLimit": 0,
    });
    let mut stage = Stage::new(&scale);
    cordon(&mut stage, 0..1);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
    assert_eq!(stage.runs(), [], "forgotten at once");
    let wanted = |stage: &mut Stage, wanted: i32| {
        stage.world.clusters.get_mut("c").expect("a cluster").tikv_wanted = Some(wanted);
    };
    // The new store takes its time.
    for _ in 0..13 {
        wanted(&mut stage, 4);
        assert_eq!(calls(&stage.pass_with(Some(&done()))), 0);
        stage.wait(SignedDuration::from_mins(5));
    }
    let tikv = stage.world.clusters.get_mut("c").expect("a cluster").status.tikv.as_mut();
    let stores = &mut tikv.expect("stores").stores;
    let mut fourth = stores[0].clone();
    fourth.pod = Some("c-tikv-3".into());
    stores.push(fourth);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 0, "its own store");
    // Ten minutes after the cluster came to rest the next one is another's.
    stage.wait(SignedDuration::from_mins(11));
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 0);
    wanted(&mut stage, 3);
    stage.pass_with(Some(&done()));
    let tikv = stage.world.clusters.get_mut("c").expect("a cluster").status.tikv.as_mut();
    tikv.expect("stores").stores.pop();
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
}

#[test]
fn stores_that_fill_together_call_for_one_more_store() {
    let mut stage = Stage::new(&json!({
        "events": ["DiskAlmostFull"], "serviceAccountName": "a", "run": {"scale": {"by": 1}},
    }));
    let fill = |stage: &mut Stage, ids: &[u64], percent: u64| {
        for id in ids {
            let store = stage.store(*id);
            (store.capacity, store.available) = (Some(1000), Some(1000 - percent * 10));
        }
        stage.report_cluster();
    };
    fill(&mut stage, &[1, 2, 3], 81);
    let plan = stage.pass_with(Some(&done()));
    assert_eq!((calls(&plan), stage.runs().len()), (1, 1), "{:?}", stage.runs());
    assert_eq!(stage.runs()[0].coalesced, 2);
    // While the new one fills, the others may fill up a little more.
    stage.world.clusters.get_mut("c").expect("a cluster").tikv_wanted = Some(4);
    stage.wait(SignedDuration::from_mins(1));
    fill(&mut stage, &[1], 86);
    stage.world.clusters.get_mut("c").expect("a cluster").tikv_wanted = Some(4);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 0);
}

/// What passes by itself is not lost when it does not pass.
#[test]
fn a_state_that_outlasts_the_own_work_is_told_then() {
    let mut stage = Stage::new(&json!({
        "events": ["DiskAlmostFull"], "run": {"compact": {}},
    }));
    let fill = |stage: &mut Stage, percent: u64| {
        let store = stage.store(1);
        (store.capacity, store.available) = (Some(1000), Some(1000 - percent * 10));
        stage.report_cluster();
        stage.pass();
    };
    fill(&mut stage, 80);
    assert_eq!(stage.runs().len(), 1);
    for percent in [85, 90, 95] {
        stage.wait(SignedDuration::from_mins(5));
        fill(&mut stage, percent);
        assert_eq!(stage.runs().len(), 1, "{percent}: it is being compacted");
    }
    stage.end_jobs(&JobState::Complete);
    stage.pass();
    stage.wait(SignedDuration::from_mins(11));
    fill(&mut stage, 95);
    let told: Vec<_> =
        stage.runs().iter().map(|run| (run.from.as_deref(), run.to.as_deref())).collect();
    assert_eq!(told, [(None, Some("80")), (Some("80"), Some("95"))]);
}

#[test]
fn a_second_store_that_is_lost_meanwhile_is_told_afterwards() {
    let mut stage = Stage::new(&json!({
        "events": ["StoreDown"], "serviceAccountName": "a", "run": {"restart": {"component": "pd"}},
    }));
    let down = |stage: &mut Stage, id: u64| {
        stage.store(id).state = crate::world::StoreState::Down;
        stage.report_cluster();
        calls(&stage.pass_with(Some(&done())))
    };
    assert_eq!(down(&mut stage, 1), 1);
    stage.wait(SignedDuration::from_mins(1));
    assert_eq!(down(&mut stage, 2), 0);
    // The cluster does not come to rest, which ends the wait as well.
    for _ in 0..15 {
        stage.wait(SignedDuration::from_mins(10));
        stage.report_cluster();
        stage.pass_with(Some(&done()));
    }
    let told: Vec<_> = stage.runs().iter().filter_map(|run| run.subject.clone()).collect();
    assert_eq!(told, ["1", "2"]);
}

/// Which verb brings about what, and whether it is told afterwards. A new event has its place in
/// `brings_about` or does not compile; what stands there is written down here a second time.
#[test]
fn each_verb_brings_about_what_it_does() {
    let works = [
        tikv_operator_api::cases::task_spec()["run"].clone(),
        json!({"http": {"url": "https://a"}}),
        json!({"compact": {}}),
        json!({"restart": {"component": "tikv"}}),
        json!({"evictLeaders": {"pods": ["c-tikv-0"]}}),
        json!({"restoreLeaders": {"pods": ["c-tikv-0"]}}),
        json!({"storeReplace": {"pod": "c-tikv-0"}}),
        json!({"configSet": {"component": "tikv", "config": {"a": 1}}}),
        json!({"scale": {"by": 1}}),
    ];
    let crd = serde_json::to_value(tikv_operator_api::schema::task_crd()).expect("JSON");
    let run = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/run/properties";
    let verbs = crd.pointer(run).and_then(Value::as_object).expect("fields").keys();
    let rows: BTreeSet<&String> =
        works.iter().filter_map(|run| run.as_object()?.keys().next()).collect();
    assert_eq!(rows, verbs.collect(), "every verb of the schema has its row");
    let table: Vec<String> = works
        .into_iter()
        .map(|run| {
            let task = task(&json!({"serviceAccountName": "a", "run": run}));
            let of = |effect: Effect| {
                let events = TaskEvent::ALL.iter();
                let is = |event: &&TaskEvent| task.work.brings_about(**event) == Some(effect);
                events.filter(is).map(|event| event.as_str()).collect::<Vec<_>>().join(" ")
            };
            let (passing, lasting) = (of(Effect::Passing), of(Effect::Lasting));
            format!("{}: {passing} | {lasting}", task.work.verb().as_str())
        })
        .collect();
    assert_eq!(
        table,
        [
            "job:  | ",
            "http:  | ",
            "compact: DiskAlmostFull | ",
            "restart: StoreDown PdMemberLost PdQuorumLost ClusterDegraded | StoreBack PdLeaderChanged \
             ClusterReady",
            "evictLeaders: ClusterDegraded | ClusterReady",
            "restoreLeaders: ClusterDegraded | ClusterReady",
            "storeReplace: DiskAlmostFull ClusterDegraded | ClusterReady",
            "configSet: StoreDown PdMemberLost PdQuorumLost ConfigDrift ClusterDegraded | StoreBack \
             PdLeaderChanged ClusterReady",
            "scale: DiskAlmostFull ClusterDegraded | ScaleStarted ScaleFinished ScaleRefused \
             ClusterReady",
        ]
    );
}
