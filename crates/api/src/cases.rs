//! Which specs must pass, and which must not?
//!
//! One table for three judges: the schema and its CEL rules evaluated locally, the operator's check,
//! and a real API server. Only with the feature `cases`, for tests.

use serde::Deserialize;
use serde_json::{Value, json};

/// Who must reject a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The API server by the structural schema, and check.
    Schema,
    /// The API server by a CEL rule, and check.
    Cel,
    /// The API server by a CEL rule on a change.
    Update,
    /// The API server under strict validation.
    Strict,
    /// Check alone.
    Check,
}

/// One spec.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub case: String,
    /// Who must reject it; `None`: it must pass.
    pub by: Option<By>,
    /// The CEL rule that rejects it.
    pub rule: Option<String>,
    /// The field that check names.
    pub field: Option<String>,
    /// Words in check's sentence.
    pub says: Option<String>,
    /// `metadata.name`, where it matters.
    pub name: Option<String>,
    /// Fields over `{version: v8.5.7}`; null removes one.
    pub spec: Value,
    /// The same, before the change.
    pub old: Option<Value>,
    /// A configuration made large.
    pub fill: Option<Fill>,
    /// It is a task's: over `{cluster: c, events: [StoreDown], run: {job: …}}`.
    #[serde(skip)]
    pub task: bool,
}

/// A configuration made large.
#[derive(Clone, Debug, Deserialize)]
pub struct Fill {
    /// `pd` or `tikv`.
    pub field: String,
    /// How large, in KiB.
    pub kib: usize,
    /// As a map instead of a TOML text.
    #[serde(default)]
    pub map: bool,
}

impl Case {
    /// The resource to create, or to change [`Case::before`] into.
    pub fn resource(&self) -> Value {
        let mut resource = self.with(&self.spec);
        if let Some(fill) = &self.fill {
            let config = if fill.map {
                json!({"large": "x".repeat(fill.kib * 1024)})
            } else {
                Value::String(format!("# {}\n", "x".repeat(62)).repeat(fill.kib * 16))
            };
            if let Some(spec) = resource.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert(fill.field.clone(), json!({"config": config}));
            }
        }
        resource
    }

    /// The resource before the change, for a case that is one.
    pub fn before(&self) -> Option<Value> {
        self.old.as_ref().map(|old| self.with(old))
    }

    fn with(&self, fields: &Value) -> Value {
        let mut spec = if self.task { task_spec() } else { json!({"version": "v8.5.7"}) };
        for (key, value) in fields.as_object().into_iter().flatten() {
            if let Some(spec) = spec.as_object_mut() {
                if value.is_null() {
                    spec.remove(key);
                } else {
                    spec.insert(key.clone(), value.clone());
                }
            }
        }
        json!({
            "apiVersion": "tikv.org/v1alpha1",
            "kind": if self.task { "TikvTask" } else { "TikvCluster" },
            "metadata": {"name": self.name.as_deref().unwrap_or("case"), "namespace": "default"},
            "spec": spec,
        })
    }
}

/// Specs that must not pass.
///
/// # Errors
/// The table is not readable.
pub fn bad() -> Result<Vec<Case>, serde_saphyr::Error> {
    serde_saphyr::from_str(include_str!("../cases/bad.yaml"))
}

/// Specs that must pass.
///
/// # Errors
/// The table is not readable.
pub fn good() -> Result<Vec<Case>, serde_saphyr::Error> {
    serde_saphyr::from_str(include_str!("../cases/good.yaml"))
}

/// Specs of tasks that must not pass.
///
/// # Errors
/// The table is not readable.
pub fn bad_tasks() -> Result<Vec<Case>, serde_saphyr::Error> {
    tasks(include_str!("../cases/bad-tasks.yaml"))
}

/// Specs of tasks that must pass.
///
/// # Errors
/// The table is not readable.
pub fn good_tasks() -> Result<Vec<Case>, serde_saphyr::Error> {
    tasks(include_str!("../cases/good-tasks.yaml"))
}

fn tasks(table: &str) -> Result<Vec<Case>, serde_saphyr::Error> {
    let mut cases: Vec<Case> = serde_saphyr::from_str(table)?;
    for case in &mut cases {
        case.task = true;
    }
    Ok(cases)
}

/// The least that a task says.
pub fn task_spec() -> Value {
    let container = json!({"name": "work", "image": "work:1"});
    json!({
        "cluster": "c",
        "events": ["StoreDown"],
        "run": {"job": {"template": {"spec": {"template": {"spec": {"containers": [container]}}}}}},
    })
}
