//! Does the resource fit the schema that this program was built with?

use std::sync::LazyLock;

use serde_json::Value;
use tikv_operator_api::TikvCluster;
use tikv_operator_api::schema::{FindingKind, crd, findings};

use super::problems::Problems;

/// The schema of `spec`, read once: it is a constant of this program.
static SPEC: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(crd()).unwrap_or_default();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .cloned()
        .unwrap_or_default()
});

pub(super) fn check(resource: &TikvCluster, problems: &mut Problems) {
    match serde_json::to_value(&resource.spec) {
        Ok(spec) => report(&spec, problems),
        Err(error) => problems.reject("spec", format!("Cannot be read: {error}.")),
    }
}

pub(super) fn check_value(resource: &Value, problems: &mut Problems) {
    match resource.get("spec") {
        Some(spec) => report(spec, problems),
        None => problems.reject("spec", "Is required. Set at least spec.version."),
    }
}

fn report(spec: &Value, problems: &mut Problems) {
    for finding in findings(&SPEC, spec, "spec") {
        match finding.kind {
            FindingKind::Invalid => problems.reject(finding.field, finding.sentence),
            FindingKind::Unknown => problems.warn(finding.field, finding.sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_found() {
        assert!(SPEC.pointer("/properties/version/maxLength").is_some());
    }
}
