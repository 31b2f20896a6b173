//! What is a call to the API server in a script, and how is its answer shown?
//!
//! `> VERB KIND NAME [uid=…] [version=…] [JSON] [: /place …]`. Shared by the tests of the model and of
//! the API server.

use serde_json::{Value, json};

use super::shown::{Names, asked, places};

/// A call.
pub(crate) struct Call {
    /// What is to be done.
    pub(crate) verb: Verb,
    /// On which kind.
    pub(crate) kind: String,
    /// On which object; empty where all of the kind are meant.
    pub(crate) name: String,
    /// The uid that a delete is to meet.
    pub(crate) uid: Option<String>,
    /// The version that a delete is to meet.
    pub(crate) version: Option<String>,
    /// The object or the patch.
    pub(crate) body: Value,
    places: Vec<String>,
}

/// The first six are the operator's; the others are what its environment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// POST. What the kind needs besides the body comes by itself.
    Create,
    /// POST that is only tried.
    Try,
    /// Server-side apply with force.
    Apply,
    /// The same of the status.
    ApplyStatus,
    /// JSON merge patch.
    Merge,
    /// Strategic merge patch of the status.
    MergeStatus,
    /// DELETE.
    Delete,
    /// GET.
    Get,
    /// The names of all objects of a kind.
    List,
    /// A scheduler binds the pod to a node.
    Bind,
    /// A kubelet says that a pod has ended.
    Ended,
    /// A volume was found for the claim.
    Provision,
    /// A storage class whose volumes grow, or do not.
    Class,
    /// The eviction of a pod.
    Evict,
}

/// What came of a call.
pub(crate) enum Answer {
    /// The object as it is now.
    Object(u16, Value),
    /// Names.
    Names(Vec<String>),
    /// Granted, with nothing to show.
    Done(u16),
    /// Status, reason, and the field that is to blame, where the server names one.
    Refused { code: u16, reason: String, field: String },
}

impl Call {
    /// Reads a line.
    pub(crate) fn read(line: &str, names: &Names) -> Self {
        let (line, places) = asked(line);
        let line = names.put_into(line);
        let (words, body) = match line.find('{') {
            Some(at) => (&line[..at], serde_json::from_str(&line[at..]).expect(&line)),
            None => (line.as_str(), Value::Null),
        };
        let mut words = words.split_whitespace();
        let verb = verb(words.next().unwrap_or_default());
        let kind = words.next().unwrap_or_else(|| panic!("{line}: no kind")).to_owned();
        let (mut name, mut uid, mut version) = (String::new(), None, None);
        for word in words {
            match word.split_once('=') {
                Some(("uid", value)) => uid = Some(value.to_owned()),
                Some(("version", value)) => version = Some(value.to_owned()),
                _ => word.clone_into(&mut name),
            }
        }
        let places = places.into_iter().map(str::to_owned).collect();
        Self { verb, kind, name, uid, version, body, places }
    }

    /// The whole object or patch as it is sent: with kind and name.
    pub(crate) fn whole(&self) -> Value {
        let mut whole = match self.verb {
            Verb::Create | Verb::Try => least(&self.kind),
            _ => json!({}),
        };
        let metadata = json!({"metadata": {"name": self.name}});
        let kind = json!({"apiVersion": api_version(&self.kind), "kind": self.kind});
        for part in [&kind, &metadata, &self.body] {
            merge(&mut whole, part);
        }
        whole
    }

    /// The answer as it is written.
    pub(crate) fn show(&self, answer: Answer, names: &mut Names) -> Vec<String> {
        match answer {
            Answer::Done(code) => vec![code.to_string()],
            Answer::Names(all) => vec![format!("200 {}", all.join(" ")).trim_end().to_owned()],
            Answer::Refused { code, reason, field } => {
                vec![format!("{code} {reason} {field}").trim_end().to_owned()]
            }
            Answer::Object(code, body) => {
                let mut lines = vec![format!("{code} {}", metadata(&body, names))];
                let pointers: Vec<&str> = self.places.iter().map(String::as_str).collect();
                lines.extend(places(&body, &pointers));
                lines
            }
        }
    }
}

fn verb(word: &str) -> Verb {
    match word {
        "create" => Verb::Create,
        "try" => Verb::Try,
        "apply" => Verb::Apply,
        "apply-status" => Verb::ApplyStatus,
        "merge" => Verb::Merge,
        "merge-status" => Verb::MergeStatus,
        "delete" => Verb::Delete,
        "get" => Verb::Get,
        "list" => Verb::List,
        "bind" => Verb::Bind,
        "ended" => Verb::Ended,
        "provision" => Verb::Provision,
        "class" => Verb::Class,
        "evict" => Verb::Evict,
        _ => panic!("{word}: no such verb"),
    }
}

/// What every object has and the operator looks at.
fn metadata(body: &Value, names: &mut Names) -> String {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let uid = names.of("uid", text("/metadata/uid"));
    let version = names.of("v", text("/metadata/resourceVersion"));
    let generation = body.pointer("/metadata/generation");
    let deleting = !text("/metadata/deletionTimestamp").is_empty();
    let finalizers = body.pointer("/metadata/finalizers").and_then(Value::as_array);
    let finalizers: Vec<&str> =
        finalizers.into_iter().flatten().filter_map(Value::as_str).collect();
    let held = (!finalizers.is_empty()).then(|| format!("finalizers={}", finalizers.join(",")));
    let shown = [
        Some(uid),
        Some(version),
        generation.map(|generation| format!("generation={generation}")),
        deleting.then(|| "deleting".to_owned()),
        held,
    ];
    shown.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The group and version of a kind.
pub(crate) fn api_version(kind: &str) -> &'static str {
    match kind {
        "TikvCluster" | "TikvTask" => "tikv.org/v1alpha1",
        "PodDisruptionBudget" => "policy/v1",
        "Job" => "batch/v1",
        "StorageClass" => "storage.k8s.io/v1",
        _ => "v1",
    }
}

/// The least that an object of a kind consists of.
fn least(kind: &str) -> Value {
    match kind {
        "Pod" => json!({"spec": {"containers": [{"name": "c", "image": "x"}]}}),
        "Service" => json!({"spec": {"ports": [{"port": 80}]}}),
        "PersistentVolumeClaim" => json!({"spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "none",
            "resources": {"requests": {"storage": "1Gi"}},
        }}),
        "PodDisruptionBudget" => {
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}})
        }
        "TikvCluster" => json!({"spec": {"version": "v8.5.7"}}),
        _ => json!({}),
    }
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => into.clone_from(more),
    }
}
