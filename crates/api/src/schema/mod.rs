//! What does the API server check, and what do the same checks say without it?

pub mod fragment;
mod reference;
mod rules;
mod structure;
mod task_rules;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};
use kube::CustomResourceExt as _;

pub use reference::{Row, rows, task_rows};
pub use rules::{RULES, Rule, TIKV_STORAGE_DEFAULT, message};
pub use structure::{Finding, FindingKind, findings};
pub use task_rules::TASK_RULES;

use crate::v1alpha1::{TikvCluster, TikvTask};

/// The `CustomResourceDefinition` to install: the derived schema with the CEL rules of [`RULES`],
/// without `nullable` (so the API server drops a `null` instead of storing it), and with
/// descriptions on one line.
pub fn crd() -> CustomResourceDefinition {
    with_rules(TikvCluster::crd(), RULES)
}

/// The same of tasks, with [`TASK_RULES`].
pub fn task_crd() -> CustomResourceDefinition {
    with_rules(TikvTask::crd(), TASK_RULES)
}

fn with_rules(mut crd: CustomResourceDefinition, rules: &[Rule]) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            tidy(schema);
            for rule in rules {
                for path in rule.at {
                    if let Some(place) = descend(schema, path) {
                        attach(place, rule);
                    }
                }
            }
        }
    }
    crd
}

fn attach(place: &mut JSONSchemaProps, rule: &Rule) {
    place.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
        rule: rule.cel.to_owned(),
        message: Some(rule.message.to_owned()),
        ..ValidationRule::default()
    });
}

/// Finds the schema at a path such as `spec.pd.storageVolumes[]`; the empty path is the root.
fn descend<'a>(schema: &'a mut JSONSchemaProps, path: &str) -> Option<&'a mut JSONSchemaProps> {
    let mut place = schema;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let name = part.strip_suffix("[]").unwrap_or(part);
        place = place.properties.as_mut()?.get_mut(name)?;
        if part.ends_with("[]") {
            place = match place.items.as_mut()? {
                JSONSchemaPropsOrArray::Schema(items) => items,
                JSONSchemaPropsOrArray::Schemas(_) => return None,
            };
        }
    }
    Some(place)
}

fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(text) = schema.description.as_mut() {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        tidy(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        tidy(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_finds_every_place_that_it_names() {
        for (mut crd, rules) in [(TikvCluster::crd(), RULES), (TikvTask::crd(), TASK_RULES)] {
            let schema = crd.spec.versions[0].schema.as_mut().unwrap();
            let schema = schema.open_api_v3_schema.as_mut().unwrap();
            for rule in rules {
                assert!(!rule.at.is_empty(), "{}", rule.name);
                for path in rule.at {
                    assert!(
                        descend(schema, path).is_some(),
                        "{}: no such place: {path}",
                        rule.name
                    );
                }
            }
        }
    }

    /// `kubectl apply` keeps the manifest in an annotation of at most 256 KiB.
    #[test]
    fn plain_kubectl_apply_can_install_the_definitions() {
        for crd in [crd(), task_crd()] {
            let yaml = serde_saphyr::to_string(&crd).unwrap();
            assert!(yaml.len() < 150 * 1024, "{} bytes", yaml.len());
        }
    }

    #[test]
    fn nothing_is_nullable() {
        for crd in [crd(), task_crd()] {
            let json = serde_json::to_string(&crd).unwrap();
            assert!(!json.contains("\"nullable\""));
            assert!(json.contains("x-kubernetes-validations"));
        }
    }
}
