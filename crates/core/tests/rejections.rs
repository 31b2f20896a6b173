//! Does check reject the same specs as the API server, and those that only it can see?

// Helpers of tests fail as tests do; clippy allows it in test functions only.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};
use tikv_operator_api::TikvCluster;
use tikv_operator_api::cases::{By, Case, bad, good};
use tikv_operator_api::schema::message;
use tikv_operator_core::check::{Rejection, check, check_value};

/// The resource as an API server would hand it out.
fn stored(case: &Case) -> Value {
    let mut resource = case.resource();
    resource["metadata"]["uid"] = json!("a-uid");
    resource["metadata"]["generation"] = json!(1);
    resource
}

fn sentence<'a>(rejection: &'a Rejection, field: &str) -> Option<&'a str> {
    rejection.problems.iter().find(|p| p.field == field).map(|p| p.sentence.as_str())
}

fn judge(case: &Case) -> Result<(), String> {
    let resource = stored(case);
    let outcome = check_value(&resource);
    let field = case.field.as_deref().unwrap_or_default();
    let fail = |why: &str| Err(format!("{}: {why}: {outcome:?}", case.case));
    match (case.by, &outcome) {
        (Some(By::Schema | By::Cel | By::Check), Err(rejection)) => {
            let Some(sentence) = sentence(rejection, field) else { return fail("other field") };
            let rule = case.rule.as_deref().map(message).unwrap_or_default();
            let words = case.says.as_deref().unwrap_or_default();
            // The rule's message starts in lower case, the sentence does not.
            if !sentence.contains(words) || !sentence.contains(rule.get(1..).unwrap_or_default()) {
                return fail("other words");
            }
            if sentence.trim().len() < 10 || !sentence.ends_with('.') {
                return fail("not a sentence");
            }
            typed(case, &resource)
        }
        (Some(By::Strict), Ok(cluster)) if cluster.warnings.iter().any(|w| w.field == field) => {
            Ok(())
        }
        (Some(By::Update) | None, Ok(_)) => Ok(()),
        // This one is refused for now whatever it was before.
        (Some(By::Update), Err(_)) if case.rule.as_deref() == Some("pd-addresses-fixed") => Ok(()),
        (Some(_) | None, _) => fail("other outcome"),
    }
}

/// Where the resource can be read into its types, `check` names the same field.
fn typed(case: &Case, resource: &Value) -> Result<(), String> {
    let Ok(read) = serde_json::from_value::<TikvCluster>(resource.clone()) else { return Ok(()) };
    let outcome = check(&read).map(drop);
    let field = case.field.as_deref().unwrap_or_default();
    match outcome.as_ref().err().and_then(|rejection| sentence(rejection, field)) {
        Some(_) => Ok(()),
        None => Err(format!("{}: check says {outcome:?}", case.case)),
    }
}

#[test]
fn bad_specs_are_rejected_by_field_and_with_the_way_out() {
    let cases = bad().unwrap();
    assert!(cases.len() >= 60, "{}", cases.len());
    let wrong: Vec<_> = cases.iter().filter_map(|case| judge(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_specs_are_clusters() {
    let wrong: Vec<_> = good().unwrap().iter().filter_map(|case| judge(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_problem_is_listed_at_once() {
    let resource = json!({
        "metadata": {"name": "1bad", "namespace": "ns", "uid": "u"},
        "spec": {
            "version": "no tag",
            "pd": {"replicas": 0, "config": {"name": "x", "join": "y"}},
            "tikv": {"requests": {"cpu": "2x"}, "config": "= broken"},
            "tlsCluster": {"enabled": true},
        },
    });
    let rejection = check_value(&resource).unwrap_err();
    let mut fields: Vec<_> = rejection.problems.iter().map(|p| p.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.pd.config.join",
            "spec.pd.config.name",
            "spec.pd.replicas",
            "spec.tikv.config",
            "spec.tikv.requests.cpu",
            "spec.tlsCluster.enabled",
            "spec.version",
        ]
    );
}

/// Whatever is in the spec, check answers.
#[test]
fn nonsense_never_panics() {
    for spec in [
        json!(null),
        json!([]),
        json!("x"),
        json!(1),
        json!({}),
        json!({"version": null}),
        json!({"version": "v1", "pd": null, "tikv": null}),
        json!({"version": "v1", "tikv": {"config": {"a": 1e300}}}),
        json!({"version": "v1", "tikv": {"config": {"a": u64::MAX}}}),
        json!({"version": "v1", "podTemplate": {"spec": {"containers": [1, null, {}]}}}),
        json!({"version": "v1", "podTemplate": {"metadata": []}}),
        json!({"version": "v1", "pd": {"requests": {"storage": "1e999999999999"}}}),
        json!({"version": "v1", "tikv": {"failover": {"after": "99999999999999999999h"}}}),
    ] {
        let _ = check_value(&json!({"metadata": {}, "spec": spec}));
    }
    assert!(check_value(&json!(null)).is_err());
}
