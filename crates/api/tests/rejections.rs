//! Are bad specs rejected where the table says, by the schema and its CEL rules evaluated locally?

// Helpers of tests fail as tests do; clippy allows it in test functions only.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use kube::core::cel::Validator;
use serde_json::Value;
use tikv_operator_api::cases::{By, Case, bad, bad_tasks, good, good_tasks};
use tikv_operator_api::schema::{FindingKind, RULES, TASK_RULES, crd, findings, message, task_crd};

fn schema() -> Value {
    schema_in(&serde_json::to_value(crd()).unwrap())
}

fn task_schema() -> Value {
    schema_in(&serde_json::to_value(task_crd()).unwrap())
}

fn schema_in(crd: &Value) -> Value {
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
}

/// Fields that the structural schema rejects or does not know.
fn structural(schema: &Value, resource: &Value, kind: FindingKind) -> Vec<String> {
    let spec = schema.pointer("/properties/spec").unwrap();
    let found = findings(spec, resource.get("spec").unwrap(), "spec");
    found.into_iter().filter(|f| f.kind == kind).map(|f| f.field).collect()
}

/// Messages of the CEL rules that a resource breaks.
fn rules(schema: &Value, resource: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(schema, resource, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

fn judge(schema: &Value, case: &Case) -> Result<(), String> {
    let resource = case.resource();
    let old = case.before();
    let invalid = structural(schema, &resource, FindingKind::Invalid);
    let unknown = structural(schema, &resource, FindingKind::Unknown);
    let field = case.field.as_deref().unwrap_or_default();
    let structure_ok = invalid.is_empty() && unknown.is_empty();
    // CEL runs only on what the structural schema lets through.
    let broken = if structure_ok { rules(schema, &resource, old.as_ref()) } else { Vec::new() };
    let ok = match case.by {
        Some(By::Schema) => invalid.iter().any(|f| f == field),
        Some(By::Strict) => invalid.is_empty() && unknown == [field],
        Some(By::Cel | By::Update) => {
            let text = message(case.rule.as_deref().unwrap_or_default());
            let created = rules(schema, &resource, None).is_empty();
            structure_ok
                && !text.is_empty()
                && broken.iter().any(|e| e.contains(text))
                && (case.by == Some(By::Cel) || created)
        }
        Some(By::Check) | None => structure_ok && broken.is_empty(),
    };
    if ok { Ok(()) } else { Err(format!("{}: {invalid:?} {unknown:?} {broken:?}", case.case)) }
}

#[test]
fn bad_specs_are_rejected_where_the_table_says() {
    let schema = schema();
    let cases = bad().unwrap();
    assert!(cases.len() >= 60, "{}", cases.len());
    let wrong: Vec<_> = cases.iter().filter_map(|case| judge(&schema, case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_specs_pass() {
    let schema = schema();
    let wrong: Vec<_> =
        good().unwrap().iter().filter_map(|case| judge(&schema, case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_case() {
    let cases = bad().unwrap();
    for rule in RULES {
        let used = cases.iter().any(|case| case.rule.as_deref() == Some(rule.name));
        assert!(used, "no case breaks the rule {}", rule.name);
    }
}

#[test]
fn bad_tasks_are_rejected_where_the_table_says() {
    let schema = task_schema();
    let cases = bad_tasks().unwrap();
    assert!(cases.len() >= 40, "{}", cases.len());
    let wrong: Vec<_> = cases.iter().filter_map(|case| judge(&schema, case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_tasks_pass() {
    let schema = task_schema();
    let cases = good_tasks().unwrap();
    let wrong: Vec<_> = cases.iter().filter_map(|case| judge(&schema, case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_of_tasks_has_a_case() {
    let cases = bad_tasks().unwrap();
    for rule in TASK_RULES {
        let used = cases.iter().any(|case| case.rule.as_deref() == Some(rule.name));
        assert!(used, "no case breaks the rule {}", rule.name);
    }
}
