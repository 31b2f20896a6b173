//! Does the check of tasks reject the same specs as the API server, and those that only it can see?

// Helpers of tests fail as tests do; clippy allows it in test functions only.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use jiff::Timestamp;
use serde_json::{Value, json};
use tikv_operator_api::cases::{By, Case, bad_tasks, good_tasks};
use tikv_operator_api::schema::message;
use tikv_operator_core::task::check_task;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// The resource as an API server would hand it out.
fn stored(case: &Case) -> Value {
    let mut resource = case.resource();
    resource["metadata"]["uid"] = json!("a-uid");
    resource["metadata"]["generation"] = json!(1);
    resource
}

fn judge(case: &Case) -> Result<(), String> {
    let outcome = check_task(&stored(case), now());
    let field = case.field.as_deref().unwrap_or_default();
    let fail = |why: &str| Err(format!("{}: {why}: {outcome:?}", case.case));
    match (case.by, &outcome) {
        (Some(By::Schema | By::Cel | By::Check), Err(rejection)) => {
            let found = rejection.problems.iter().find(|problem| problem.field == field);
            let Some(sentence) = found.map(|problem| problem.sentence.as_str()) else {
                return fail("other field");
            };
            let rule = case.rule.as_deref().map(message).unwrap_or_default();
            let words = case.says.as_deref().unwrap_or_default();
            if !sentence.contains(words) || !sentence.contains(rule.get(1..).unwrap_or_default()) {
                return fail("other words");
            }
            if sentence.trim().len() < 10 || !sentence.ends_with('.') || sentence.contains('\n') {
                return fail("not a sentence");
            }
            Ok(())
        }
        (Some(By::Strict), Ok(task)) if task.warnings.iter().any(|it| it.field == field) => Ok(()),
        (None, Ok(_)) => Ok(()),
        (Some(_) | None, _) => fail("other outcome"),
    }
}

#[test]
fn bad_tasks_are_rejected_with_the_field_and_the_way_out() {
    let wrong: Vec<_> = bad_tasks().unwrap().iter().filter_map(|case| judge(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_tasks_pass() {
    let wrong: Vec<_> = good_tasks().unwrap().iter().filter_map(|case| judge(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_makes_the_check_panic() {
    for body in [json!(null), json!([]), json!({}), json!({"spec": 1}), json!({"spec": {"run": 7}})]
    {
        assert!(check_task(&body, now()).is_err(), "{body}");
    }
}

/// The examples are tasks that can be carried out.
#[test]
fn examples_pass() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tasks");
    let mut seen = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let documents = text.split("\n---\n").map(|text| {
            serde_saphyr::from_str::<Value>(text).unwrap_or_else(|e| panic!("{path:?}: {e}"))
        });
        for mut task in documents.filter(|document| document["kind"] == "TikvTask") {
            task["metadata"]["namespace"] = json!("default");
            task["metadata"]["uid"] = json!("a-uid");
            let task = check_task(&task, now()).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            assert!(task.warnings.is_empty(), "{path:?}: {:?}", task.warnings);
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}
