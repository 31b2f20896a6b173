//! How often is a run tried, how does it end, and what is said of it?

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;
use tikv_operator_api::v1alpha1::RunOutcome as R;

use super::super::fixture::{
    HOOK, Stage, again, calls, cordon, done, failed, hook, manifest, now, outcomes, task,
};
use super::*;

#[test]
fn attempts_pause_longer_each_time_and_end() {
    let mut stage = Stage::new(&hook(&json!({"backoffLimit": 2})));
    cordon(&mut stage, 0..1);
    let mut keys = BTreeSet::new();
    for (attempt, pause) in [(1, 10), (2, 20)] {
        let plan = stage.pass_with(Some(&again()));
        keys.extend(plan.steps.iter().filter_map(|step| step.run().cloned()));
        let run = &stage.runs()[0];
        assert_eq!((run.outcome, run.attempts), (R::Running, attempt));
        let next = run.next.as_ref().expect("a time").0;
        assert_eq!(next.duration_since(stage.world.now), SignedDuration::from_secs(pause));
        stage.wait(SignedDuration::from_secs(pause - 1));
        assert_eq!(calls(&stage.pass()), 0);
        stage.wait(SignedDuration::from_secs(1));
    }
    let plan = stage.pass_with(Some(&again()));
    keys.extend(plan.steps.iter().filter_map(|step| step.run().cloned()));
    assert_eq!((outcomes(&stage), keys.len()), (vec![R::Failed], 1), "one key for all");
    assert!(stage.world.task.status.conditions[1].message.contains("503"));
    stage.wait(SignedDuration::from_hours(1));
    assert_eq!(calls(&stage.pass()), 0);
}

#[test]
fn what_would_fail_again_is_not_tried_again() {
    let mut stage = Stage::new(&hook(&json!({})));
    cordon(&mut stage, 0..1);
    stage.pass_with(Some(&failed()));
    assert_eq!(outcomes(&stage), [R::Failed]);
}

#[test]
fn f78_a_run_ends_with_its_time_and_takes_its_job_along() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"], "timeout": "30s"}));
    cordon(&mut stage, 0..1);
    let plan = stage.pass();
    assert_eq!(plan.wake, std::time::Duration::from_secs(30));
    stage.wait(SignedDuration::from_secs(30));
    let plan = stage.pass();
    assert!(matches!(plan.steps.as_slice(), [TaskStep::DeleteJob { .. }]), "{plan:?}");
    assert_eq!(outcomes(&stage), [R::Failed]);
    assert!(stage.runs()[0].message.as_ref().expect("words").contains("30 s"));
}

#[test]
fn history_is_limited_in_number_and_time() {
    let limits = json!({"successfulRunsHistoryLimit": 2, "failedRunsHistoryLimit": 0});
    let mut stage = Stage::new(&hook(&limits));
    for n in 0..4 {
        cordon(&mut stage, n..n + 1);
        stage.pass_with(Some(&done()));
        stage.wait(SignedDuration::from_secs(1));
    }
    assert_eq!(outcomes(&stage), [R::Succeeded, R::Succeeded]);
    assert_eq!(stage.runs()[1].subject.as_deref(), Some("n3"));
    cordon(&mut stage, 9..10);
    stage.pass_with(Some(&failed()));
    assert_eq!(outcomes(&stage), [R::Succeeded, R::Succeeded]);
    let mut stage = Stage::new(&json!({
        "events": ["NodeCordoned"], "ttlSecondsAfterFinished": 60,
    }));
    cordon(&mut stage, 0..1);
    stage.pass();
    stage.end_jobs(&JobState::Complete);
    assert_eq!(stage.pass().wake, std::time::Duration::from_mins(1));
    stage.wait(SignedDuration::from_mins(1));
    let plan = stage.pass();
    assert!(matches!(plan.steps.as_slice(), [TaskStep::DeleteJob { .. }]), "{plan:?}");
    assert_eq!(stage.runs(), []);
}

/// An alarm that ends with the history is none.
#[test]
fn a_failure_is_told_until_another_run_ends() {
    for limit in ["failedRunsHistoryLimit", "ttlSecondsAfterFinished"] {
        let told = |stage: &Stage| {
            let status = &stage.world.task.status;
            let failed = status.conditions.iter().find(|c| c.type_ == "Failed").expect("told");
            (failed.status.clone(), failed.message.contains("404"), status.last_outcome.clone())
        };
        let yes = ("True".to_owned(), true, Some("Failed".to_owned()));
        let mut stage = Stage::new(&hook(&json!({limit: 0})));
        cordon(&mut stage, 0..1);
        stage.pass_with(Some(&done()));
        cordon(&mut stage, 0..2);
        stage.pass_with(Some(&failed()));
        let since = stage.world.task.status.conditions[1].last_transition_time.clone();
        for _ in 0..3 {
            assert_eq!(told(&stage), yes, "{limit}");
            stage.wait(SignedDuration::from_hours(1));
            stage.pass();
        }
        let status = &stage.world.task.status;
        assert!(status.runs.iter().all(|run| run.outcome == R::Succeeded), "{limit}");
        assert_eq!(status.conditions[1].last_transition_time, since);
        cordon(&mut stage, 0..3);
        stage.pass_with(Some(&done()));
        assert_eq!(told(&stage), ("False".to_owned(), false, Some("Succeeded".to_owned())));
    }
}

#[test]
fn a_failure_is_told_though_the_spec_is_not_valid_any_more() {
    let mut stage = Stage::new(&hook(&json!({"timeout": "30s"})));
    cordon(&mut stage, 0..1);
    stage.pass();
    stage.wait(SignedDuration::from_secs(30));
    let bad = manifest(&hook(&json!({"when": "event.type =="})));
    let rejection = check_task(&bad, now()).expect_err("bad");
    let status = rejected(&stage.world, &rejection);
    assert_eq!(status.last_outcome.as_deref(), Some("Failed"));
    assert_eq!(status.conditions[1].status, "True");
}

#[test]
fn a_suspended_task_passes_events_over() {
    let mut stage = Stage::new(&hook(&json!({"suspend": true})));
    cordon(&mut stage, 0..1);
    stage.pass();
    stage.task.suspend = false;
    stage.pass();
    assert_eq!(stage.runs(), []);
    cordon(&mut stage, 0..2);
    assert_eq!(calls(&stage.pass()), 1);
}

#[test]
fn a_condition_decides() {
    let mut stage = Stage::new(&hook(&json!({"when": "event.subject == 'n1'"})));
    cordon(&mut stage, 0..3);
    stage.pass();
    assert_eq!(stage.runs().len(), 1);
    assert_eq!(stage.runs()[0].subject.as_deref(), Some("n1"));
}

#[test]
fn once_is_once_for_each_cluster() {
    let mut stage = Stage::unseen(&json!({
        "events": null, "immediately": true, "run": {"http": {"url": HOOK}},
        "cluster": null, "clusterSelector": {"matchLabels": {"a": "b"}},
    }));
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 0);
    let mut other = stage.world.clusters["c"].clone();
    (other.name, other.uid) = ("d".into(), crate::world::Uid("uid-of-d".into()));
    stage.world.clusters.insert("d".into(), other);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 0);
    let c = stage.world.clusters.get_mut("c").expect("a cluster");
    c.uid = crate::world::Uid("another-of-the-name".into());
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
}

#[test]
fn what_is_wrong_is_said_and_nothing_seen_is_forgotten() {
    let stage = Stage::new(&hook(&json!({})));
    let mut bad = manifest(&hook(&json!({"when": "event.type =="})));
    bad["metadata"]["generation"] = json!(2);
    let rejection = check_task(&bad, now()).expect_err("bad");
    let facts = TaskFacts { generation: 2, ..stage.world.task.clone() };
    let world = TaskWorld { task: facts, ..stage.world.clone() };
    let status = rejected(&world, &rejection);
    let ready = &status.conditions[0];
    assert_eq!((ready.type_.as_str(), ready.status.as_str()), ("Ready", "False"));
    assert!(ready.message.contains("spec.when"), "{}", ready.message);
    assert_eq!(status.clusters, stage.world.task.status.clusters);
    let mut stage = Stage::new(&hook(&json!({})));
    stage.world.clusters.clear();
    stage.pass();
    let ready = &stage.world.task.status.conditions[0];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "NoCluster"));
    assert!(task(&hook(&json!({}))).is_about("c", &std::collections::BTreeMap::new()));
}

#[test]
fn an_attempt_that_failed_shows_in_the_conditions() {
    let mut stage = Stage::new(&hook(&json!({})));
    cordon(&mut stage, 0..1);
    stage.pass_with(Some(&Answer::Again("no token".into())));
    let ready = &stage.world.task.status.conditions[0];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "TriesAgain"));
    assert!(ready.message.contains("no token"), "{}", ready.message);
}

/// An answer holds whatever has become of the spec: the call was made.
#[test]
fn an_answer_is_heard_though_the_spec_is_not_valid_any_more() {
    let bad = manifest(&hook(&json!({"when": "event.type =="})));
    let rejection = || check_task(&bad, now()).map(std::sync::Arc::new);
    for (answer, outcome) in [(done(), R::Succeeded), (failed(), R::Failed), (again(), R::Running)]
    {
        let mut stage = Stage::new(&hook(&json!({"backoffLimit": 0})));
        cordon(&mut stage, 0..1);
        let plan = stage.pass();
        let key = plan.steps[0].run().expect("a run").clone();
        let answers = [Answered { key, answer }];
        let plan = turn(&rejection(), stage.world.clone(), &answers);
        let run = &plan.status.runs[0];
        assert_eq!((run.outcome, plan.steps.len()), (outcome, 0), "{answers:?}");
        assert!(run.message.is_some(), "{answers:?}");
        // How many attempts there are is known when the spec is valid again.
        stage.world.task.status = plan.status;
        stage.wait(SignedDuration::from_secs(10));
        let expected = if outcome == R::Running { R::Failed } else { outcome };
        assert_eq!(calls(&stage.pass()), 0, "{answers:?}");
        assert_eq!(outcomes(&stage), [expected], "{answers:?}");
    }
}

#[test]
fn an_event_on_which_the_condition_fails_is_not_lost_and_the_failure_is_told() {
    let mut stage = Stage::new(&hook(&json!({"when": "int(event.subject) > 5"})));
    cordon(&mut stage, 0..1);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
    let ready = &stage.world.task.status.conditions[0];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Warnings"));
    assert!(ready.message.contains("spec.when"), "{}", ready.message);
}

#[test]
fn a_status_is_bounded_in_size() {
    let mut stage = Stage::new(&json!({
        "events": ["NodeCordoned", "ClusterDegraded"], "cluster": null,
        "clusterSelector": {"matchLabels": {"a": "b"}}, "run": {"http": {"url": HOOK}},
    }));
    let view = stage.world.clusters["c"].clone();
    for n in 0..200 {
        let name = format!("c{n:03}");
        stage.world.clusters.insert(name.clone(), ClusterView { name, ..view.clone() });
    }
    stage.pass();
    let status = &stage.world.task.status;
    assert_eq!(status.clusters.len(), 100);
    let ready = &status.conditions[0];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "TooManyClusters"));
    assert!(ready.message.contains("201"), "{}", ready.message);
    // The first by name are "c" and those up to "c098".
    let words = "Left out: c099, c100, c101, c102, c103, c104, c105, c106, c107, c108 and 91 more.";
    assert!(ready.message.contains(words), "{}", ready.message);
    let c = stage.world.clusters.get_mut("c").expect("a cluster");
    let mut conditions = c.status.conditions.iter_mut();
    let degraded = conditions.find(|c| c.type_ == "Degraded").expect("a condition");
    (degraded.status, degraded.message) = ("True".into(), "x".repeat(30_000));
    degraded.last_transition_time.0 += SignedDuration::from_secs(1);
    stage.pass();
    let detail = stage.runs()[0].detail.as_ref().expect("words");
    assert_eq!(detail.len(), 512);
}

/// Clusters come and go by name, and the status stays within its bound at every moment.
#[test]
fn a_status_that_is_full_stays_full_and_no_more() {
    let mut stage = Stage::new(&json!({
        "events": ["NodeCordoned"], "cluster": null,
        "clusterSelector": {"matchLabels": {"a": "b"}}, "run": {"http": {"url": HOOK}},
    }));
    let view = stage.world.clusters["c"].clone();
    let add = |stage: &mut Stage, prefix: &str| {
        for n in 0..60 {
            let name = format!("{prefix}{n:02}");
            stage.world.clusters.insert(name.clone(), ClusterView { name, ..view.clone() });
        }
    };
    let seen = |stage: &Stage, prefix: &str| {
        let clusters = stage.world.task.status.clusters.iter();
        clusters.filter(|seen| seen.name.starts_with(prefix)).count()
    };
    add(&mut stage, "m");
    stage.pass();
    add(&mut stage, "x");
    stage.pass();
    assert_eq!((seen(&stage, ""), seen(&stage, "m"), seen(&stage, "x")), (100, 60, 39));
    // Others of earlier names take the places of the last ones.
    add(&mut stage, "a");
    stage.pass();
    assert_eq!((seen(&stage, ""), seen(&stage, "a"), seen(&stage, "x")), (100, 60, 0));
    // While the operator has read few of them, those that it has not read keep their marks.
    stage.world.clusters.clear();
    stage.world.clusters_are_known = false;
    add(&mut stage, "0");
    stage.pass();
    assert_eq!((seen(&stage, ""), seen(&stage, "a"), seen(&stage, "0")), (100, 60, 0));
    stage.world.clusters_are_known = true;
    stage.pass();
    assert_eq!((seen(&stage, ""), seen(&stage, "0")), (60, 60));
}

#[test]
fn how_full_a_disk_is_is_told_to_receivers_and_jobs() {
    let mut stage = Stage::new(&json!({"events": ["DiskAlmostFull"]}));
    let store = stage.store(1);
    (store.capacity, store.available) = (Some(1000), Some(150));
    stage.report_cluster();
    let plan = stage.pass();
    let [TaskStep::CreateJob { job, .. }] = plan.steps.as_slice() else { panic!("{plan:?}") };
    let pod = &job["spec"]["template"];
    let event = pod["metadata"]["annotations"][EVENT_ANNOTATION].as_str().expect("an event");
    let event: serde_json::Value = serde_json::from_str(event).expect("JSON");
    assert_eq!(event["data"]["percent"], 85);
    let env = pod["spec"]["containers"][0]["env"].as_array().expect("a list");
    assert!(env.contains(&json!({"name": "TIKV_PERCENT", "value": "85"})), "{env:?}");
}

#[test]
fn a_secret_in_the_clear_is_warned_of() {
    let header = json!([{"name": "A", "secretKeyRef": {"name": "s", "key": "k"}}]);
    for (url, warned) in [("http://a", 1), ("https://a", 0)] {
        let task = task(&json!({
            "serviceAccountName": "a", "run": {"http": {"url": url, "headersFrom": header}},
        }));
        assert_eq!(task.warnings.len(), warned, "{url}: {:?}", task.warnings);
    }
}
