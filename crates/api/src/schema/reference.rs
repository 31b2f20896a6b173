//! Which fields are there, for the reference page?

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// One field of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Path: `spec.tikv.storageVolumes[].name`.
    pub path: String,
    /// Type in words: `string`, `integer`, `object`, `list of objects`, `Retain | Delete`, …
    pub kind: String,
    /// Default value or words for it; empty where the description has none.
    pub default: String,
    /// What it is, with unit and whether a change restarts pods.
    pub description: String,
    /// True where the field holds no field of ours below it.
    pub leaf: bool,
}

/// All fields of spec and status of a cluster, in the order of their paths.
pub fn rows() -> Vec<Row> {
    rows_of(&super::crd())
}

/// The same of a task.
pub fn task_rows() -> Vec<Row> {
    rows_of(&super::task_crd())
}

fn rows_of(crd: &CustomResourceDefinition) -> Vec<Row> {
    let mut rows = Vec::new();
    for version in &crd.spec.versions {
        let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
        for (name, property) in schema.and_then(|s| s.properties.as_ref()).into_iter().flatten() {
            if name == "spec" || name == "status" {
                visit(property, name, &mut rows);
            }
        }
    }
    rows
}

fn visit(schema: &JSONSchemaProps, path: &str, rows: &mut Vec<Row>) {
    let description = schema.description.clone().unwrap_or_default();
    let own = schema.x_kubernetes_preserve_unknown_fields != Some(true);
    let items = match schema.items.as_ref() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(&**items),
        Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
    };
    let below = if own { schema.properties.as_ref() } else { None };
    let own_items = items
        .filter(|i| i.x_kubernetes_preserve_unknown_fields != Some(true) && i.properties.is_some());
    rows.push(Row {
        path: path.to_owned(),
        kind: kind(schema, items),
        default: default(schema, &description),
        leaf: below.is_none() && own_items.is_none(),
        description,
    });
    for (name, property) in below.into_iter().flatten() {
        visit(property, &format!("{path}.{name}"), rows);
    }
    if let Some(properties) = own_items.and_then(|items| items.properties.as_ref()) {
        for (name, property) in properties {
            visit(property, &format!("{path}[].{name}"), rows);
        }
    }
}

fn kind(schema: &JSONSchemaProps, items: Option<&JSONSchemaProps>) -> String {
    if let Some(values) = schema.enum_.as_ref() {
        let values: Vec<_> = values.iter().filter_map(|v| v.0.as_str()).collect();
        return values.join(" | ");
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "quantity".to_owned();
    }
    if let Some(items) = items {
        let plural = if items.enum_.is_some() { "" } else { "s" };
        return format!("list of {}{plural}", kind(items, None));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_ref() {
        return format!("map to {}", kind(values, None));
    }
    match (schema.type_.as_deref(), schema.format.as_deref()) {
        (Some(_), Some("date-time")) => "time".to_owned(),
        (Some("string"), _) if schema.pattern.as_deref() == Some(super::fragment::DURATION) => {
            "duration".to_owned()
        }
        (Some(type_), _) => type_.to_owned(),
        (None, _) => "map or TOML string".to_owned(),
    }
}

/// The schema's default, or the words after `Default:` in the description up to the sentence's end.
fn default(schema: &JSONSchemaProps, description: &str) -> String {
    if let Some(default) = schema.default.as_ref()
        && !default.0.is_object()
    {
        return default.0.to_string();
    }
    let Some((_, words)) = description.split_once("Default: ") else {
        return String::new();
    };
    let end = words.find(". ").unwrap_or_else(|| words.trim_end_matches('.').len());
    words.get(..end).unwrap_or(words).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec_leaves() -> Vec<Row> {
        rows().into_iter().filter(|row| row.leaf && row.path.starts_with("spec.")).collect()
    }

    #[test]
    fn every_field_of_the_spec_says_its_default() {
        let required = ["spec.version"];
        for row in spec_leaves() {
            let element = row.path.contains("[].");
            let named = required.contains(&row.path.as_str());
            assert!(element || named || !row.default.is_empty(), "{}: no default", row.path);
        }
    }

    /// Those of a task say it too, or that they are required. A member of `run` is one of several.
    #[test]
    fn every_field_of_a_task_says_its_default() {
        let said = |row: &Row| {
            let required = row.description.contains("Required");
            required || !row.default.is_empty() || row.path.matches('.').count() < 2
        };
        let rows = task_rows();
        assert!(rows.len() > 60, "{}", rows.len());
        for row in rows.iter().filter(|row| row.path.starts_with("spec.") && row.leaf) {
            assert!(said(row), "{}: {}", row.path, row.description);
            assert!(!row.description.is_empty(), "{}", row.path);
        }
    }

    #[test]
    fn every_field_of_the_spec_says_whether_a_change_restarts_pods() {
        for row in spec_leaves() {
            let said = [
                "restarts the pods",
                "stops or starts the pods",
                "Restarts nothing",
                "restarts nothing",
                "mmutable",
                "A change is refused",
                "cannot be added",
            ];
            let element = row.path.ends_with("[].name");
            assert!(
                element || said.iter().any(|words| row.description.contains(words)),
                "{}: {}",
                row.path,
                row.description
            );
        }
    }

    #[test]
    fn the_fields_that_the_design_names_are_there() {
        let rows = rows();
        for path in [
            "spec.version",
            "spec.paused",
            "spec.tlsCluster.enabled",
            "spec.clusterDomain",
            "spec.pdAddresses",
            "spec.suspendAction.suspendStatefulSet",
            "spec.pvReclaimPolicy",
            "spec.pd.baseImage",
            "spec.pd.replicas",
            "spec.pd.config",
            "spec.pd.requests",
            "spec.pd.service.type",
            "spec.tikv.limits",
            "spec.tikv.storageVolumes[].mountPath",
            "spec.tikv.storeLabels",
            "spec.tikv.scalePolicy.scaleInParallelism",
            "spec.tikv.evictLeaderTimeout",
            "spec.tikv.failover.after",
            "spec.tikv.podTemplate",
            "spec.topologySpreadConstraints",
            "spec.timezone",
            "status.clusterId",
            "status.summary",
        ] {
            assert!(rows.iter().any(|row| row.path == path), "{path}");
        }
    }
}
