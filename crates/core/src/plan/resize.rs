//! Are the volumes as large as the spec asks, and of its class?
//!
//! Volumes are made as asked and not changed yet: a difference is named, by field, and nothing else
//! depends on it. A volume never shrinks, and Kubernetes never changes its class, so a spec that
//! asks for either is told the way out. An unset class is the cluster's default one, which
//! Kubernetes writes on the claim: no difference.

use tikv_operator_api::names;

use super::Scene;
use super::draft::Draft;
use crate::cluster::Storage;
use crate::rules;
use crate::world::{Component, VolumeFacts};

/// Notes every field of a size or class that existing volumes differ from.
pub(super) fn explain(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for component in Component::ALL {
        let part = scene.common(component);
        let path = format!("spec.{component}");
        let data = Wish { volume: None, storage: &part.storage };
        compare(scene, component, data, &format!("{path}.requests.storage"), draft);
        for volume in &part.volumes {
            let wish = Wish { volume: Some(&volume.name), storage: &volume.storage };
            let field = format!("{path}.storageVolumes[{}].storageSize", volume.name);
            compare(scene, component, wish, &field, draft);
        }
    }
}

/// What is asked of one kind of volume; `volume`: its name, none for the data volume.
#[derive(Clone, Copy)]
struct Wish<'a> {
    volume: Option<&'a str>,
    storage: &'a Storage,
}

fn compare(
    scene: &Scene<'_>,
    component: Component,
    wish: Wish<'_>,
    field: &str,
    draft: &mut Draft<'_>,
) {
    let volumes: Vec<(String, &VolumeFacts)> = scene
        .slots(component)
        .into_iter()
        .filter_map(|slot| {
            let name = match wish.volume {
                Some(volume) => names::extra_volume(scene.name(), component, volume, slot.ordinal),
                None => slot.claim_name(scene.name()),
            };
            scene.world.volumes.get(&name).map(|facts| (name, facts))
        })
        .collect();
    let size = wish.storage.size.units();
    let named = |differs: &dyn Fn(&VolumeFacts) -> bool| {
        let names = volumes.iter().filter(|(_, facts)| differs(facts)).map(|(name, _)| name);
        names.cloned().collect::<Vec<_>>().join(", ")
    };
    let smaller = named(&|facts| facts.requested < size);
    let larger = named(&|facts| facts.requested > size);
    let class = wish.storage.class.as_ref();
    let other = named(&|facts| class.is_some() && facts.storage_class.as_ref() != class);
    let size = &wish.storage.size;
    if !smaller.is_empty() {
        let detail = format!("{field} is {size}; {smaller} stay smaller for now");
        draft.wait(field, &rules::RESIZE_LATER, detail);
    }
    if !larger.is_empty() {
        let detail = format!(
            "{field} is {size}; {larger} are larger, and volumes never shrink: put the old size back"
        );
        draft.wait(field, &rules::RESIZE_LATER, detail);
    }
    if let Some(class) = class.filter(|_| !other.is_empty()) {
        let of = wish.volume.map(|volume| format!("storageVolumes[{volume}]."));
        let field = format!("spec.{component}.{}storageClassName", of.unwrap_or_default());
        let detail = format!("{field} is {class} for new volumes; {other} keep their class");
        draft.wait(field, &rules::RESIZE_LATER, detail);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::fixture;
    use crate::plan::{Severity, Step, plan};
    use crate::rules;

    #[test]
    fn volumes_that_differ_from_the_spec_are_named_and_left_alone() {
        let before = json!({"tikv": {
            "requests": {"storage": "10Gi"},
            "storageVolumes": [{"name": "raft", "storageSize": "1Gi", "mountPath": "/raft"}],
        }});
        let world = fixture::settled(&fixture::cluster(before));
        for (after, subjects, words) in [
            (json!({"requests": {"storage": "10240Mi"}}), vec![], ""),
            (
                json!({"requests": {"storage": "11Gi"}}),
                vec!["spec.tikv.requests.storage"],
                "stay smaller",
            ),
            (
                json!({"requests": {"storage": "9Gi"}}),
                vec!["spec.tikv.requests.storage"],
                "never shrink",
            ),
            (
                json!({"requests": {"storage": "10Gi"}, "storageClassName": "fast"}),
                vec!["spec.tikv.storageClassName"],
                "tikv-c-tikv-2 keep their class",
            ),
        ] {
            let cluster = fixture::cluster(json!({"tikv": after}));
            let plan = plan(&cluster, &world);
            let touched =
                |step: &Step| matches!(step, Step::ResizeVolume { .. } | Step::DeleteVolume { .. });
            assert!(!plan.steps.iter().any(touched), "{after}");
            let waits = plan.waits.iter().filter(|w| *w.rule == rules::RESIZE_LATER);
            let waits: Vec<_> = waits.collect();
            let said: Vec<_> = waits.iter().map(|w| w.subject.as_str()).collect();
            assert_eq!(said, subjects, "{after}");
            assert!(waits.iter().all(|w| w.detail.contains(words)), "{waits:?}");
            assert!(waits.iter().all(|w| w.severity == Severity::Held));
        }
    }
}
