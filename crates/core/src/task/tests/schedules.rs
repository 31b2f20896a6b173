//! When is a task due by its schedule, and only then?

use jiff::SignedDuration;
use serde_json::json;

use super::super::fixture::{HOOK, Stage, calls, done, task};

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
