//! What does the manifest say that somebody is about to apply?

use std::io::Read;
use std::path::Path;
use std::{fs, io};

use serde_json::{Value, json};
use tikv_operator_core::check::check_value;
use tikv_operator_core::cluster::Cluster;

use crate::failure::Failure;
use crate::input::Found;

/// Longest manifest: `kubectl apply` takes 256 KiB.
const LONGEST: u64 = 1024 * 1024;

/// A manifest of a `TikvCluster`, not checked yet.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// Its path, for messages.
    pub(crate) path: String,
    /// `metadata.name`.
    pub(crate) name: String,
    /// `metadata.namespace`, where it says one.
    pub(crate) namespace: Option<String>,
    body: Value,
}

/// Reads the one `TikvCluster` in the file.
pub(crate) fn read(path: &Path) -> Result<Manifest, Failure> {
    let shown = path.display().to_string();
    let fail = |reason: String| Failure::Unreadable { path: shown.clone(), reason };
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().take(LONGEST).read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|error| fail(error.to_string()))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|error| fail(error.to_string()))?;
    let is_cluster = |body: &&Value| body.get("kind") == Some(&json!("TikvCluster"));
    let body = documents.iter().find(is_cluster).cloned();
    let body = body.ok_or_else(|| fail("there is no TikvCluster in it".to_owned()))?;
    let word = |pointer| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Ok(Manifest {
        name: word("/metadata/name").ok_or_else(|| fail("metadata.name is missing".to_owned()))?,
        namespace: word("/metadata/namespace"),
        path: shown,
        body,
    })
}

impl Manifest {
    /// The manifest of a cluster that does not exist, checked.
    pub(crate) fn alone(&self) -> Result<Cluster, Failure> {
        let namespace = self.namespace.as_deref().unwrap_or("default");
        self.checked(&self.stored(namespace, "not given yet", 1))
    }

    /// The manifest as the API server would store it over what exists, checked. An error names
    /// every field that is wrong.
    pub(crate) fn over(&self, found: &Found) -> Result<Cluster, Failure> {
        let metadata = &found.resource.metadata;
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let generation = metadata.generation.unwrap_or(0) + 1;
        self.checked(&self.stored(found.namespace(), uid, generation))
    }

    fn stored(&self, namespace: &str, uid: &str, generation: i64) -> Value {
        let mut body = self.body.clone();
        if let Some(map) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            map.insert("namespace".to_owned(), json!(namespace));
            map.insert("uid".to_owned(), json!(uid));
            map.insert("generation".to_owned(), json!(generation));
        }
        body
    }

    fn checked(&self, body: &Value) -> Result<Cluster, Failure> {
        check_value(body).map_err(|rejection| Failure::Rejected {
            path: self.path.clone(),
            problems: rejection.problems.iter().fold(String::new(), |text, problem| {
                text + "\n  " + &problem.field + ": " + &problem.sentence
            }),
        })
    }
}
