//! What does a user ask of a single pod, by annotation?
//!
//! A wish whose key or value is not understood asks for nothing and is named: a store must not leave,
//! nor a server be restarted, by a slip of the pen.

use jiff::Timestamp;
use tikv_operator_api::labels;

use super::Scene;
use super::config_tikv::APPLIED_CONFIG;
use super::draft::Draft;
use super::rows::Member;
use crate::rules;
use crate::world::{Component, PodFacts};

/// Has just this pod restarted, with all care that a change of the spec gets; the pod that comes
/// back does not carry it.
pub const RESTART: &str = "tikv.org/restart";
/// Chooses the member that leaves at the next scale-in.
pub const LEAVE: &str = "tikv.org/leave";
/// Has a new store take the place of this one, which serves until the new one does.
pub const REPLACE: &str = "tikv.org/replace";
/// Has the store's leaders move away and stay away, until it is taken off or until the time that it
/// names. With [`RESTART`] beside it the pod is then made anew, which carries neither.
pub const EVICT: &str = "tikv.org/evict-leaders";

/// What users may write on a pod: key, values, meaning. For the generated page.
pub static WISHES: &[(&str, &str, &str)] = &[
    (
        RESTART,
        "`true`, or a time",
        "This pod alone is restarted, with the order and the gates of a roll. The new pod does not carry it.",
    ),
    (
        LEAVE,
        "`true`",
        "This member is the first to leave when `replicas` becomes smaller. It goes with the pod: write it again where the pod was made anew before.",
    ),
    (
        REPLACE,
        "`true`",
        "TiKV only. One more store is made, and when as many others as are wanted are Up and ready this one leaves as in a scale-in. Until it has begun to leave, taking the annotation off calls it back: the new store goes again. It goes with the pod, as `tikv.org/leave` does; on the store's volume claim (`tikv-<pod>`) it means the same and stays until the store has left.",
    ),
    (
        EVICT,
        "`true`, or a time until which",
        "The leaders of this store move away and stay away until it is taken off or the time is over. With `tikv.org/restart` beside it the pod is then restarted.",
    ),
];

/// Keys that the operator itself writes on pods.
const OURS: [&str; 2] = [labels::REVISION, APPLIED_CONFIG];

/// Does a user ask this of the pod now?
pub(super) fn is_asked(pod: &PodFacts, wish: &str, now: Timestamp) -> bool {
    pod.annotations.get(wish).is_some_and(|value| means(wish, value, now) == Some(true))
}

/// Is the store to be replaced? Asked on its pod, or on its volume claim, which outlives pods.
pub(super) fn is_to_be_replaced(member: &Member<'_>, now: Timestamp) -> bool {
    let on_claim = member.volume.and_then(|volume| volume.replace.as_deref());
    member.pod.is_some_and(|pod| is_asked(pod, REPLACE, now))
        || on_claim.is_some_and(|value| means(REPLACE, value, now) == Some(true))
}

/// What the value means; `None` where it is not understood.
fn means(wish: &str, value: &str, now: Timestamp) -> Option<bool> {
    match value {
        "" | "true" => Some(true),
        "false" => Some(false),
        time => match (wish, time.parse::<Timestamp>()) {
            (EVICT, Ok(end)) => Some(now < end),
            (RESTART, Ok(_)) => Some(true),
            (_, Ok(_) | Err(_)) => None,
        },
    }
}

/// Names what is not understood.
pub(super) fn name_unclear(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let mut say = |name: String, component, key: &str, value: &str| {
        if let Some(detail) = unclear(component, key, value, scene.world.now) {
            let detail = format!("{name}: {detail}");
            draft.wait(name, &rules::ANNOTATION_NOT_UNDERSTOOD, detail);
        }
    };
    for (slot, pod) in &scene.world.pods {
        for (key, value) in pod.annotations.iter().filter(|(key, _)| !OURS.contains(&key.as_str()))
        {
            say(slot.pod_name(scene.name()), slot.component, key, value);
        }
    }
    // A volume that was left behind asks for nothing.
    let volumes = scene.world.volumes.values();
    for volume in volumes.filter(|volume| volume.main && !volume.marks.retired) {
        if let Some(value) = &volume.replace {
            say(volume.slot.claim_name(scene.name()), volume.slot.component, REPLACE, value);
        }
    }
}

/// What is wrong with a wish; `None` where it is understood.
fn unclear(component: Component, key: &str, value: &str, now: Timestamp) -> Option<String> {
    match WISHES.iter().find(|(wish, ..)| *wish == key) {
        Some((wish, ..)) if *wish == REPLACE && component == Component::Pd => Some(format!(
            "{key} means nothing on a PD member: make `spec.pd.replicas` one more, annotate its pod \
             with {LEAVE}=true, and make it one less"
        )),
        Some((wish, values, _)) => means(wish, value, now)
            .is_none()
            .then(|| format!("{key} is {value:?}, which asks for nothing: write {values}")),
        None => {
            let keys: Vec<&str> = WISHES.iter().map(|(wish, ..)| *wish).collect();
            Some(format!("{key} means nothing on a pod; these do: {}", keys.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;
    use crate::plan::plan;
    use crate::world::Slot;

    #[test]
    fn a_value_that_is_not_understood_is_not_a_yes() {
        let (before, after) = ("2026-11-22T11:59:59Z", "2026-11-22T12:00:01Z");
        for (wish, value, means) in [
            (LEAVE, "", Some(true)),
            (LEAVE, "true", Some(true)),
            (LEAVE, "false", Some(false)),
            (LEAVE, "False", None),
            (LEAVE, "no", None),
            (LEAVE, before, None),
            (REPLACE, "true", Some(true)),
            (REPLACE, "soon", None),
            (RESTART, "true", Some(true)),
            (RESTART, before, Some(true)),
            (RESTART, "false", Some(false)),
            (RESTART, "0", None),
            (EVICT, before, Some(false)),
            (EVICT, after, Some(true)),
            (EVICT, "2026-13-01T00:00:00Z", None),
            (EVICT, "tomorrow", None),
        ] {
            assert_eq!(super::means(wish, value, fixture::now()), means, "{wish}={value}");
        }
    }

    #[test]
    fn a_pd_member_is_not_replaced_by_a_word_for_stores() {
        let cluster = fixture::cluster(json!({}));
        let mut world = fixture::settled(&cluster);
        let pod = world.pods.get_mut(&Slot::pd(1)).expect("a pod");
        pod.annotations.insert(REPLACE.into(), "true".into());
        let plan = plan(&cluster, &world);
        assert_eq!(plan.steps, []);
        let detail = plan.waits.iter().find(|w| *w.rule == rules::ANNOTATION_NOT_UNDERSTOOD);
        let detail = &detail.expect("a wait").detail;
        assert!(detail.contains("c-pd-1") && detail.contains("tikv.org/leave=true"), "{detail}");
    }

    #[test]
    fn a_wish_on_a_claim_that_is_not_understood_is_named_until_the_volume_is_retired() {
        let cluster = fixture::cluster(json!({}));
        let settled = fixture::settled(&cluster);
        for (slot, value, said) in [
            (Slot::tikv(1), "soon", "is \"soon\""),
            (Slot::pd(1), "true", "nothing on a PD member"),
        ] {
            let mut world = settled.clone();
            let volume = world.volumes.get_mut(&slot.claim_name("c")).expect("a volume");
            volume.replace = Some(value.into());
            let planned = plan(&cluster, &world);
            assert_eq!(planned.steps, []);
            let wait = planned.waits.iter().find(|w| *w.rule == rules::ANNOTATION_NOT_UNDERSTOOD);
            let wait = wait.expect("a wait");
            assert_eq!(wait.subject, slot.claim_name("c"));
            assert!(wait.detail.contains(said), "{}", wait.detail);
            world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks.retired = true;
            let waits = plan(&cluster, &world).waits;
            assert!(waits.iter().all(|w| *w.rule != rules::ANNOTATION_NOT_UNDERSTOOD), "{waits:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_pod_and_does_nothing() {
        let cluster = fixture::cluster(json!({}));
        let settled = fixture::settled(&cluster);
        for (key, value, said) in [
            (RESTART, "no", "tikv.org/restart is \"no\""),
            ("tikv.org/restrat", "true", "tikv.org/restrat means nothing on a pod"),
        ] {
            let mut world = settled.clone();
            let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
            pod.annotations.insert(key.into(), value.into());
            let plan = plan(&cluster, &world);
            assert_eq!(plan.steps, []);
            let wait = plan.waits.iter().find(|w| *w.rule == rules::ANNOTATION_NOT_UNDERSTOOD);
            let detail = &wait.expect("a wait").detail;
            assert!(detail.starts_with("c-tikv-1: ") && detail.contains(said), "{detail}");
        }
        assert_eq!(plan(&cluster, &settled).waits, []);
    }
}
