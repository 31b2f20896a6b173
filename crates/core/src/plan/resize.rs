//! Are the volumes as large as the spec asks, and of its class?
//!
//! Volumes grow online, one at a time per component, whether their pods run or not: one that is
//! full may be why a pod does not run. TiKV sees the new size by itself. A volume never shrinks and
//! Kubernetes never changes its class, so a spec that asks for either is told the way out. An unset
//! class is the cluster's default one, which Kubernetes writes on the claim: no difference.

use jiff::SignedDuration;
use tikv_operator_api::names;

use super::draft::Draft;
use super::{Scene, Step};
use crate::cluster::Storage;
use crate::rules;
use crate::world::{Component, VolumeFacts, VolumePhase};

/// A refused growth is asked for again this often: somebody may have changed the class.
const ASK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Asks for larger volumes where the spec does, and notes every size and class that differs.
pub(super) fn grow(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for component in Component::ALL {
        let part = scene.common(component);
        let path = format!("spec.{component}");
        let data = Wish { volume: None, storage: &part.storage };
        let mut kinds = vec![(data, format!("{path}.requests.storage"))];
        for volume in &part.volumes {
            let wish = Wish { volume: Some(&volume.name), storage: &volume.storage };
            let field = format!("{path}.storageVolumes[{}].storageSize", volume.name);
            kinds.push((wish, field));
        }
        let mut busy = false;
        let kinds =
            kinds.into_iter().map(|(wish, field)| (wish, field, claims(scene, component, wish)));
        let kinds: Vec<_> = kinds.collect();
        for (wish, field, claims) in &kinds {
            busy |= say_growing(claims, draft);
            compare(*wish, component, field, claims, draft);
        }
        for (wish, _, claims) in &kinds {
            busy |= ask(scene, *wish, claims, busy, draft);
        }
    }
}

/// What is asked of one kind of volume; `volume`: its name, none for the data volume.
#[derive(Clone, Copy)]
struct Wish<'a> {
    volume: Option<&'a str>,
    storage: &'a Storage,
}

type Claims<'a> = Vec<(&'a String, &'a VolumeFacts)>;

fn claims<'a>(scene: &Scene<'a>, component: Component, wish: Wish<'_>) -> Claims<'a> {
    let world = scene.world;
    scene
        .occupied(component)
        .iter()
        .filter_map(|slot| {
            let Some(volume) = wish.volume else { return scene.main_claim(*slot) };
            let name = names::extra_volume(scene.name(), component, volume, slot.ordinal);
            world.volumes.get_key_value(&name)
        })
        .filter(|(_, facts)| !facts.marks.retired && !facts.deleting)
        .filter(|(_, facts)| facts.marks.resource.as_ref() == Some(&world.resource.uid))
        .collect()
}

/// Names volumes that Kubernetes is making larger. True if there are any.
fn say_growing(claims: &Claims<'_>, draft: &mut Draft<'_>) -> bool {
    let growing = |facts: &VolumeFacts| {
        facts.phase == VolumePhase::Bound && facts.capacity > 0 && facts.requested > facts.capacity
    };
    let mut any = false;
    for &(name, facts) in claims.iter().filter(|(_, facts)| growing(facts)) {
        let words = facts.growth.as_deref().unwrap_or("Kubernetes has not begun");
        let (capacity, requested) = (facts.capacity, facts.requested);
        let detail = format!("{name} has {capacity} of {requested} bytes asked for: {words}");
        draft.wait(name, &rules::VOLUME_GROWS, detail);
        any = true;
    }
    any
}

/// Asks for the next volume to be made larger. One that was refused waits its minute and holds up
/// no other. True if it asked, or one is `busy` growing.
fn ask(
    scene: &Scene<'_>,
    wish: Wish<'_>,
    claims: &Claims<'_>,
    busy: bool,
    draft: &mut Draft<'_>,
) -> bool {
    let wanted = wish.storage.size.units();
    let small = |facts: &VolumeFacts| facts.requested < wanted;
    let mut asked = busy;
    for &(name, facts) in claims.iter().filter(|(_, facts)| small(facts)) {
        let refused = scene.world.growth_refused.get(name).is_some_and(|refusal| {
            let detail =
                format!("{name} stays smaller than {}: {}", wish.storage.size, refusal.words);
            draft.holds(name, &rules::CLASS_CANNOT_GROW, detail) && refusal.ago < ASK_AGAIN
        });
        let waits = match asked {
            _ if facts.phase != VolumePhase::Bound => {
                Some("has no volume yet; it grows when it has")
            }
            true => Some("grows when the volume before it has grown"),
            false => None,
        };
        let waits = waits.map(|words| format!("{name} {words}"));
        let held = waits.is_some_and(|detail| draft.holds(name, &rules::VOLUME_GROWS, detail));
        if !held && !refused {
            let size = wish.storage.size.as_str().to_owned();
            let step = Step::ResizeVolume { name: name.clone(), uid: facts.uid.clone(), size };
            asked = draft.propose(name, step);
        }
    }
    asked
}

/// Notes what is not and will not be as the spec says.
fn compare(
    wish: Wish<'_>,
    component: Component,
    field: &str,
    claims: &Claims<'_>,
    draft: &mut Draft<'_>,
) {
    let named = |differs: &dyn Fn(&VolumeFacts) -> bool| {
        let names = claims.iter().filter(|(_, facts)| differs(facts));
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let size = &wish.storage.size;
    let larger = named(&|facts| facts.requested > size.units());
    if !larger.is_empty() {
        let detail = format!(
            "{field} is {size}; {larger} are larger, and volumes never shrink: put the old size back"
        );
        draft.wait(field, &rules::VOLUMES_NEVER_SHRINK, detail);
    }
    let class = wish.storage.class.as_ref();
    let other = named(&|facts| class.is_some() && facts.storage_class.as_ref() != class);
    if let Some(class) = class.filter(|_| !other.is_empty()) {
        let of = wish.volume.map(|volume| format!("storageVolumes[{volume}]."));
        let field = format!("spec.{component}.{}storageClassName", of.unwrap_or_default());
        let detail = format!("{field} is {class} for new volumes; {other} keep their class");
        draft.wait(field, &rules::CLASS_IS_FIXED, detail);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::Cluster;
    use crate::fixture;
    use crate::plan::{Plan, plan};
    use crate::rules::Rule;
    use crate::world::{GrowthRefusal, Slot, World};

    fn with(tikv: &serde_json::Value) -> Cluster {
        fixture::cluster(json!({"tikv": tikv}))
    }

    fn ten() -> World {
        fixture::settled(&with(&json!({"requests": {"storage": "10Gi"}})))
    }

    fn resized(plan: &Plan) -> Vec<(&str, &str)> {
        let resized = plan.steps.iter().filter_map(|step| {
            let Step::ResizeVolume { name, size, .. } = step else { return None };
            Some((name.as_str(), size.as_str()))
        });
        resized.collect()
    }

    fn said<'a>(plan: &'a Plan, rule: &Rule) -> Vec<&'a str> {
        plan.waits.iter().filter(|w| w.rule == rule).map(|w| w.subject.as_str()).collect()
    }

    #[test]
    fn s82_volumes_grow_one_at_a_time_and_no_pod_is_touched() {
        let cluster = with(&json!({"requests": {"storage": "11Gi"}}));
        let mut world = ten();
        let first = plan(&cluster, &world);
        assert_eq!(resized(&first), [("tikv-c-tikv-0", "11Gi")]);
        assert!(!first.steps.iter().any(Step::is_disruptive));
        let volume = world.volumes.get_mut("tikv-c-tikv-0").expect("a volume");
        volume.requested = 11 << 30;
        volume.growth = Some("FileSystemResizePending".into());
        let second = plan(&cluster, &world);
        assert_eq!(resized(&second), []);
        assert_eq!(
            said(&second, &rules::VOLUME_GROWS),
            ["tikv-c-tikv-0", "tikv-c-tikv-1", "tikv-c-tikv-2"]
        );
        world.volumes.get_mut("tikv-c-tikv-0").expect("a volume").capacity = 11 << 30;
        assert_eq!(resized(&plan(&cluster, &world)), [("tikv-c-tikv-1", "11Gi")]);
    }

    #[test]
    fn a_full_volume_grows_while_its_pod_is_down() {
        let cluster = with(&json!({"requests": {"storage": "11Gi"}}));
        let mut world = ten();
        world.pods.get_mut(&Slot::tikv(0)).expect("a pod").containers_ready = false;
        assert_eq!(resized(&plan(&cluster, &world)), [("tikv-c-tikv-0", "11Gi")]);
    }

    #[test]
    fn s85_a_refused_growth_is_said_and_asked_for_again_after_a_minute() {
        let cluster = with(&json!({"requests": {"storage": "11Gi"}}));
        let mut world = ten();
        let refusal = |secs| GrowthRefusal {
            words: "class local does not allow expansion".into(),
            ago: SignedDuration::from_secs(secs),
        };
        for ordinal in 0..3 {
            world.growth_refused.insert(format!("tikv-c-tikv-{ordinal}"), refusal(30));
        }
        let held = plan(&cluster, &world);
        assert_eq!((resized(&held), said(&held, &rules::CLASS_CANNOT_GROW).len()), (vec![], 3));
        world.growth_refused.insert("tikv-c-tikv-1".into(), refusal(60));
        let again = plan(&cluster, &world);
        assert_eq!(resized(&again), [("tikv-c-tikv-1", "11Gi")]);
        assert_eq!(said(&again, &rules::CLASS_CANNOT_GROW).len(), 3, "the condition stays");
        world.growth_refused.remove("tikv-c-tikv-2");
        world.growth_refused.insert("tikv-c-tikv-1".into(), refusal(1));
        let others = plan(&cluster, &world);
        assert_eq!(resized(&others), [("tikv-c-tikv-2", "11Gi")], "one refusal holds no other up");
    }

    #[test]
    fn s83_s84_a_smaller_size_and_another_class_are_named_and_nothing_is_done() {
        for (after, rule, subject) in [
            (
                json!({"requests": {"storage": "9Gi"}}),
                &rules::VOLUMES_NEVER_SHRINK,
                "spec.tikv.requests.storage",
            ),
            (
                json!({"requests": {"storage": "10Gi"}, "storageClassName": "fast"}),
                &rules::CLASS_IS_FIXED,
                "spec.tikv.storageClassName",
            ),
        ] {
            let plan = plan(&with(&after), &ten());
            let touched =
                |step: &Step| matches!(step, Step::ResizeVolume { .. } | Step::DeleteVolume { .. });
            assert!(!plan.steps.iter().any(touched));
            assert_eq!(said(&plan, rule), [subject]);
        }
        let same = plan(&with(&json!({"requests": {"storage": "10240Mi"}})), &ten());
        assert_eq!((same.steps, same.waits), (vec![], vec![]));
    }
}
