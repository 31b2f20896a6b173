//! When is a task due by its schedule, and only then?

use jiff::SignedDuration;
use serde_json::json;
use tikv_operator_api::v1alpha1::RunOutcome as R;

use super::super::fixture::{HOOK, Stage, calls, cordon, done, hook, task};
use super::*;

#[test]
fn a_schedule_starts_from_the_first_look_and_misses_nothing() {
    let mut stage = Stage::new(&json!({
        "events": null, "schedule": "0 * * * *", "run": {"http": {"url": HOOK}},
    }));
    assert_eq!(stage.runs(), [], "it is noon: from now on");
    stage.wait(SignedDuration::from_mins(59));
    assert_eq!(calls(&stage.pass()), 0);
    stage.wait(SignedDuration::from_mins(1));
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
    // The operator is away for five hours.
    stage.wait(SignedDuration::from_hours(5));
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
    assert_eq!(stage.runs()[1].coalesced, 4);
    assert_eq!(stage.runs()[1].since.0.to_string(), "2026-11-22T18:00:00Z");
    assert_eq!(calls(&stage.pass()), 0);
}

#[test]
fn a_time_that_is_due_while_clusters_are_not_known_is_not_lost() {
    let mut stage = Stage::new(&json!({
        "events": null, "schedule": "0 * * * *", "run": {"http": {"url": HOOK}},
    }));
    stage.wait(SignedDuration::from_hours(1));
    let clusters = std::mem::take(&mut stage.world.clusters);
    stage.world.clusters_are_known = false;
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 0);
    (stage.world.clusters, stage.world.clusters_are_known) = (clusters, true);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
}

/// One whose status somebody wrote by hand, say.
#[test]
fn a_cluster_that_cannot_be_read_keeps_no_other_from_its_time() {
    let mut stage = Stage::new(&json!({
        "events": null, "schedule": "0 * * * *", "run": {"http": {"url": HOOK}},
        "cluster": null, "clusterSelector": {"matchLabels": {"a": "b"}},
    }));
    let view = stage.world.clusters["c"].clone();
    let odd = ClusterView { name: "odd".into(), ..view };
    stage.world.clusters.insert("odd".into(), odd.clone());
    stage.wait(SignedDuration::from_hours(1));
    stage.pass_with(None);
    assert_eq!(stage.runs().len(), 2, "both go on");
    stage.world.clusters.remove("odd");
    stage.world.unreadable.insert("odd".into());
    stage.pass_with(Some(&done()));
    stage.wait(SignedDuration::from_mins(59));
    stage.wait(SignedDuration::from_mins(1));
    stage.pass_with(Some(&done()));
    let of = |stage: &Stage, name: &str| {
        stage
            .runs()
            .iter()
            .filter(|run| run.cluster == name)
            .map(|run| run.outcome)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&stage, "c"), [R::Succeeded, R::Succeeded]);
    assert_eq!(of(&stage, "odd"), [R::Failed], "by its time, and not as one that is gone");
    let message = stage.runs().iter().find(|run| run.cluster == "odd").expect("it").message.clone();
    assert!(message.expect("words").contains("did not end within"));
    let ready = &stage.world.task.status.conditions[0];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "ClusterUnreadable"));
    assert!(ready.message.contains("TikvCluster odd"), "{}", ready.message);
}

#[test]
fn what_was_seen_of_a_cluster_that_cannot_be_read_is_kept() {
    let mut stage = Stage::new(&hook(&json!({})));
    cordon(&mut stage, 0..1);
    stage.pass_with(Some(&done()));
    let view = stage.world.clusters.remove("c").expect("a cluster");
    stage.world.unreadable.insert("c".into());
    stage.pass();
    let ready = &stage.world.task.status.conditions[0];
    assert_eq!(ready.reason, "ClusterUnreadable");
    stage.world.unreadable.clear();
    stage.world.clusters.insert("c".into(), view);
    assert_eq!(calls(&stage.pass()), 0, "it was told");
    cordon(&mut stage, 0..2);
    assert_eq!(calls(&stage.pass()), 1);
}

#[test]
fn another_schedule_starts_nothing_for_times_before_it() {
    let at = |schedule: &str| json!({"events": null, "schedule": schedule, "run": {"http": {"url": HOOK}}});
    let mut stage = Stage::new(&at("30 3 * * *"));
    stage.wait(SignedDuration::from_hours(20));
    // 12:00 UTC is the time of the first look.
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
    stage.wait(SignedDuration::from_hours(2));
    stage.task = task(&at("0 9 * * *"));
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 0, "nine was before the edit");
    stage.wait(SignedDuration::from_hours(24));
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 1);
}

#[test]
fn a_time_that_was_missed_by_long_is_left_out_where_that_is_asked_for() {
    for (deadline, started) in [(json!(null), 1), (json!(3600), 0), (json!(3 * 3600), 1)] {
        let mut stage = Stage::new(&json!({
            "events": null, "schedule": "30 3 * * *", "startingDeadlineSeconds": deadline,
            "run": {"http": {"url": HOOK}},
        }));
        // It is noon; the operator is away until six in the morning.
        stage.wait(SignedDuration::from_hours(18));
        assert_eq!(calls(&stage.pass_with(Some(&done()))), started, "{deadline}");
        stage.wait(SignedDuration::from_hours(22));
        assert_eq!(
            calls(&stage.pass_with(Some(&done()))),
            1,
            "{deadline}: the next one is in time"
        );
    }
}
