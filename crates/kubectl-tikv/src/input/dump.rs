//! What is in a dump that `kubectl get … -o yaml` (or `-o json`) wrote?

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;
use crate::flags::Scope;
use crate::input::{Input, TASK, Tasks};

/// Longest dump that is read: a hundred clusters with all their pods take some 20 MiB.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Everything that is in it.
pub(super) fn read(path: &Path, scope: &Scope) -> Result<Input, Failure> {
    let shown = path.display().to_string();
    let fail = |reason: String| Failure::Unreadable { path: shown.clone(), reason };
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().take(LONGEST).read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|error| fail(error.to_string()))?;
    let mut resources = Vec::new();
    let (mut objects, mut tasks) = (Vec::new(), None);
    for object in documents(&text).map_err(fail)? {
        let kind = object.get("kind").and_then(Value::as_str);
        if kind == Some(TASK) {
            // One of another namespace shows that those of this one would be here.
            tasks.get_or_insert_with(Vec::new).push(object);
            continue;
        }
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        if scope.namespace.is_some() && scope.namespace.as_deref() != namespace {
            continue;
        }
        if kind == Some("TikvCluster") {
            let resource = serde_json::from_value(object)
                .map_err(|error| fail(format!("a TikvCluster in it is not one: {error}")))?;
            resources.push(resource);
        } else {
            objects.push(object);
        }
    }
    let tasks = tasks.map_or(Tasks::NotInDump, Tasks::Known);
    Ok(Input { resources, objects, place: shown, tasks })
}

/// All objects: of JSON, of several YAML documents, of lists in either.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = match serde_json::from_str(text) {
        Ok(document) => vec![document],
        Err(_) => serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?,
    };
    let mut objects = Vec::new();
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => objects.extend(items.iter().cloned()),
            None => objects.push(document),
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_yaml_and_lists_are_read() {
        for text in [
            r#"{"kind": "List", "items": [{"kind": "Pod"}, {"kind": "Pod"}]}"#,
            "kind: Pod\n---\nkind: Pod\n",
            "kind: List\nitems:\n- kind: Pod\n- kind: Pod\n",
        ] {
            assert_eq!(documents(text).unwrap().len(), 2, "{text}");
        }
        assert!(documents("a: [").is_err());
    }
}
