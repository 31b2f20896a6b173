//! Which leaves does the schema have, and which manifests does it admit?

use serde_json::{Value, json};
use tikv_operator_api::schema::{FindingKind, findings};

/// The schema of the resource, as the API server gets it.
pub(crate) struct Schema(Value);

/// One step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A field.
    Key(String),
    /// The first entry of a list.
    First,
}

/// A place in the resource where the user writes a value, with the schema of that value.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) segments: Vec<Segment>,
    pub(crate) schema: Value,
}

impl Schema {
    /// From the definition that is installed.
    pub(crate) fn generated() -> Self {
        let crd = serde_json::to_value(tikv_operator_api::crd()).expect("a definition");
        Self(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
    }

    /// Every leaf of `spec`.
    pub(crate) fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        visit(&self.0["properties"]["spec"], vec![Segment::Key("spec".into())], &mut leaves);
        leaves
    }

    /// Would the API server store this? (Rules between fields are `check`'s.)
    pub(crate) fn admits(&self, manifest: &Value) -> bool {
        let spec = &self.0["properties"]["spec"];
        let found = findings(spec, &manifest["spec"], "spec");
        assert!(found.iter().all(|f| f.kind != FindingKind::Unknown), "{found:?}");
        found.is_empty()
    }
}

fn visit(schema: &Value, at: Vec<Segment>, leaves: &mut Vec<Leaf>) {
    let below = |segment: Segment| at.iter().cloned().chain([segment]).collect::<Vec<_>>();
    let passed_through = schema["x-kubernetes-preserve-unknown-fields"] == json!(true);
    let items = &schema["items"];
    let own_items = items["x-kubernetes-preserve-unknown-fields"] != json!(true)
        && items["properties"].is_object();
    if let (Some(properties), false) = (schema["properties"].as_object(), passed_through) {
        for (key, property) in properties {
            visit(property, below(Segment::Key(key.clone())), leaves);
        }
    } else if own_items {
        visit(items, below(Segment::First), leaves);
    } else if schema["additionalProperties"]["x-kubernetes-int-or-string"] == json!(true) {
        // `storage` goes elsewhere than the other resources: two leaves, not one.
        for resource in ["cpu", "storage"] {
            let segments = below(Segment::Key(resource.into()));
            leaves.push(Leaf { segments, schema: schema["additionalProperties"].clone() });
        }
    } else {
        leaves.push(Leaf { segments: at, schema: schema.clone() });
    }
}

impl Leaf {
    /// `spec.pd.storageVolumes[0].name`
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Key(key) if path.is_empty() => path.push_str(key),
                Segment::Key(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Segment::First => path.push_str("[0]"),
            }
        }
        path
    }

    /// The last field name in the path.
    pub(crate) fn name(&self) -> &str {
        let mut segments = self.segments.iter().rev();
        let name = segments.find_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::First => None,
        });
        name.unwrap_or_default()
    }

    /// The value in a manifest.
    pub(crate) fn get(&self, manifest: &Value) -> Option<Value> {
        let value = self.segments.iter().try_fold(manifest, |value, segment| match segment {
            Segment::Key(key) => value.get(key),
            Segment::First => value.get(0),
        });
        value.cloned()
    }

    /// Sets the value, making the objects and lists on the way.
    pub(crate) fn set(&self, manifest: &mut Value, new: Value) {
        let mut place = manifest;
        for segment in &self.segments {
            place = match segment {
                Segment::Key(key) => &mut place[key.as_str()],
                Segment::First => {
                    if place.is_null() {
                        *place = json!([{}]);
                    }
                    &mut place[0]
                }
            };
        }
        *place = new;
    }
}
