//! What is a volume claim like, and whose is it?

use serde_json::Value;
use tikv_operator_api::labels;

use super::{bytes, text};
use crate::build::marks_from_annotations;
use crate::plan::REPLACE;
use crate::world::{Component, Slot, VolumeFacts, VolumePhase};

/// Facts about a claim that carries the labels of `cluster`.
///
/// `None` where its labels and its name do not agree on the member that it belongs to: then it is
/// not ours, whatever else it says.
pub fn volume_facts(cluster: &str, body: &Value) -> Option<VolumeFacts> {
    let tags = text::texts(body, "/metadata/labels");
    if tags.get(labels::CLUSTER).map(String::as_str) != Some(cluster) {
        return None;
    }
    let component = tags.get(labels::COMPONENT)?;
    let component = Component::ALL.into_iter().find(|c| c.as_str() == component)?;
    let slot = Slot { component, ordinal: tags.get(labels::ORDINAL)?.parse().ok()? };
    let main = !tags.contains_key(labels::VOLUME);
    let name = text::text(body, "/metadata/name")?;
    let named = if main {
        name == slot.claim_name(cluster)
    } else {
        name.ends_with(&format!("-{}", slot.pod_name(cluster)))
    };
    named.then_some(())?;
    let annotations = text::texts(body, "/metadata/annotations");
    let size = |pointer: &str| text::text(body, pointer).and_then(bytes).unwrap_or_default();
    Some(VolumeFacts {
        uid: text::uid(body)?,
        version: text::text(body, "/metadata/resourceVersion").unwrap_or_default().to_owned(),
        slot,
        main,
        phase: match text::text(body, "/status/phase") {
            Some("Bound") => VolumePhase::Bound,
            Some("Lost") => VolumePhase::Lost,
            _ => VolumePhase::Pending,
        },
        requested: size("/spec/resources/requests/storage"),
        capacity: size("/status/capacity/storage"),
        storage_class: text::text(body, "/spec/storageClassName").map(str::to_owned),
        deleting: text::deleting(body),
        growth: growth(body),
        replace: annotations.get(REPLACE).cloned(),
        marks: marks_from_annotations(&annotations),
    })
}

/// Conditions of a claim that speak of its growth, the worst first.
const GROWTH: [&str; 4] =
    ["ControllerResizeError", "NodeResizeError", "FileSystemResizePending", "Resizing"];

fn growth(body: &Value) -> Option<String> {
    let conditions = || body.pointer("/status/conditions").and_then(Value::as_array);
    GROWTH.iter().find_map(|kind| {
        let found = conditions()?.iter().find(|condition| {
            text::text(condition, "/type") == Some(kind)
                && text::text(condition, "/status") == Some("True")
        })?;
        let message = text::text(found, "/message").filter(|message| !message.is_empty());
        Some(message.map_or_else(|| (*kind).to_owned(), |words| format!("{kind}: {words}")))
    })
}
