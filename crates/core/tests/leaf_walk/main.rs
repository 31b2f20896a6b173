//! Is any field of the resource silently ignored?
//!
//! Walks every leaf of the generated schema, changes it in manifests where it can matter, and asks
//! what follows: another object, another plan, a sentence that names the field, or a refusal that
//! does. A leaf from which nothing follows fails the walk. New fields join by themselves; one of a
//! Kubernetes type needs an example in `examples.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test binary: a panic is a failed test"
)]

#[path = "../fixture/mod.rs"]
mod fixture;
/// The worlds of core's own tests.
#[path = "../../src/fixture.rs"]
#[allow(dead_code, reason = "the walk needs a part of it")]
mod scenes;

mod effect;
mod examples;
mod motion;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
// The scenes name core's modules as core itself does.
use tikv_operator_core::{build, check, cluster, plan, world};

use effect::{Effect, Seen};
use schema::{Leaf, Schema};

/// Takes a part of the manifest away before it is looked at: an unwired field, for the self-test.
type Blindfold = fn(&mut Value);

/// What the walk found out about every leaf.
#[derive(Debug, Default)]
struct Walk {
    /// Leaves that had no effect in a manifest where they should have had one.
    ignored: BTreeSet<String>,
    /// The strongest effect of each leaf.
    effects: BTreeMap<String, Effect>,
}

/// Walks the leaves below `root`.
fn walk(root: &str, blindfold: Blindfold) -> Walk {
    let schema = Schema::generated();
    let bases = bases(blindfold);
    let mut result = Walk::default();
    for leaf in schema.leaves().into_iter().filter(|leaf| leaf.path().starts_with(root)) {
        let shows = shows_in(&leaf);
        let mut tried = 0;
        for (name, base, before) in bases.iter().filter(|(name, _, _)| shows.contains(name)) {
            let Some(found) = strongest(&schema, base, before, &leaf, blindfold) else { continue };
            tried += 1;
            if found == Effect::Nothing {
                result.ignored.insert(format!("{} in {name}", leaf.path()));
            } else {
                let best = result.effects.entry(leaf.path()).or_insert(found);
                *best = found.max(*best);
            }
        }
        assert!(tried > 0, "no valid value was found for {}", leaf.path());
    }
    result
}

/// The manifests that leaves are changed in, with what follows from them as they are.
fn bases(blindfold: Blindfold) -> [(&'static str, Value, Seen); 3] {
    ["version-only", "shared", "everything"].map(|name| {
        let manifest = fixture::manifest(name);
        let seen = effect::look(&manifest, blindfold);
        (name, manifest, seen)
    })
}

/// The strongest effect that a change of the leaf has on `base`; `None` where the API server admits
/// no change.
fn strongest(
    schema: &Schema,
    base: &Value,
    before: &Seen,
    leaf: &Leaf,
    blindfold: Blindfold,
) -> Option<Effect> {
    let mut strongest = None;
    for manifest in changes(schema, base, leaf) {
        let after = effect::look(&manifest, blindfold);
        strongest = strongest.max(Some(Effect::between(before, &after, &leaf.path())));
        if strongest == Some(Effect::Built) {
            break;
        }
    }
    strongest
}

/// `base` with the leaf changed, once per other value that the API server would admit.
fn changes(schema: &Schema, base: &Value, leaf: &Leaf) -> Vec<Value> {
    let current = leaf.get(base);
    let candidates = examples::candidates(leaf, current.as_ref()).into_iter();
    let changed = candidates.map(|candidate| {
        let mut manifest = base.clone();
        leaf.set(&mut manifest, candidate);
        manifest
    });
    changed.filter(|manifest| manifest != base && schema.admits(manifest)).collect()
}

/// Where a change of this leaf can show: in the shortest manifest, and in one that sets everything
/// on its level. (Cluster-wide settings do not show where both components override them.)
fn shows_in(leaf: &Leaf) -> [&'static str; 2] {
    let path = leaf.path();
    if path.starts_with("spec.pd.") || path.starts_with("spec.tikv.") {
        ["version-only", "everything"]
    } else {
        ["version-only", "shared"]
    }
}

/// The description of every field says whether a change restarts pods, and users plan by it. The
/// revision decides it.
#[test]
fn the_revision_changes_with_the_pods_and_as_the_descriptions_say() {
    let schema = Schema::generated();
    let bases = bases(|_| {});
    let mut wrong = BTreeSet::new();
    for leaf in schema.leaves() {
        let path = leaf.path();
        let shows = shows_in(&leaf);
        let text = leaf.schema["description"].as_str().unwrap_or_default();
        for (_, base, before) in bases.iter().filter(|(name, _, _)| shows.contains(name)) {
            for manifest in changes(&schema, base, &leaf) {
                let after = effect::look(&manifest, |_| {});
                let Some(restarts) = after.restarts(before) else { continue };
                if after.rebuilds(before) && !restarts {
                    wrong.insert(format!("{path} changes the pods and not their revision"));
                }
                if restarts && text.contains("Restarts nothing") {
                    wrong.insert(format!("{path} restarts pods and says that it does not"));
                }
                // A default that is written out changes nothing, and so restarts nothing.
                let built = Effect::between(before, &after, &path) == Effect::Built;
                if built && !restarts && text.contains("A change restarts the pods") {
                    wrong.insert(format!("{path} restarts no pods and says that it does"));
                }
            }
        }
    }
    assert_eq!(wrong, BTreeSet::new());
}

#[test]
fn no_field_is_silently_ignored() {
    let walk = walk("spec", |_| {});
    assert_eq!(walk.ignored, BTreeSet::new(), "these fields have no effect and nobody says so");
    for (path, effect) in &walk.effects {
        println!("{path}: {effect:?}");
    }
    assert!(walk.effects.len() > 120, "the walk saw only {} leaves", walk.effects.len());
    let refused: Vec<&str> = walk
        .effects
        .iter()
        .filter(|(_, effect)| **effect == Effect::Refused)
        .map(|(path, _)| path.as_str())
        .collect();
    // Whatever else is refused would be refused for its example, and its effect never seen.
    assert_eq!(refused, ["spec.pd.limits.storage", "spec.pdAddresses", "spec.tlsCluster.enabled"]);
}

/// The walk must see a field that nobody wired. Each of these hides one from everything behind.
#[test]
fn an_unwired_field_is_found() {
    let unwired: [(&str, Blindfold); 9] = [
        ("spec.tikv.timezone", |m| remove(m, &["spec", "tikv"], "timezone")),
        ("spec.pd.tolerations", |m| remove(m, &["spec", "pd"], "tolerations")),
        ("spec.nodeSelector", |m| remove(m, &["spec"], "nodeSelector")),
        ("spec.tikv.limits.storage", |m| remove(m, &["spec", "tikv", "limits"], "storage")),
        ("spec.pd.service.portName", |m| remove(m, &["spec", "pd", "service"], "portName")),
        ("spec.tikv.scalePolicy.scaleInParallelism", |m| {
            remove(m, &["spec", "tikv", "scalePolicy"], "scaleInParallelism");
        }),
        ("spec.pd.configUpdateStrategy", |m| remove(m, &["spec", "pd"], "configUpdateStrategy")),
        ("spec.tikv.evictLeaderTimeout", |m| remove(m, &["spec", "tikv"], "evictLeaderTimeout")),
        ("spec.tikv.failover.quarantine", |m| {
            remove(m, &["spec", "tikv", "failover"], "quarantine");
        }),
    ];
    for (path, blindfold) in unwired {
        let (parent, _) = path.rsplit_once('.').expect("a field below spec");
        let root = if parent == "spec" { path } else { parent };
        let found: BTreeSet<String> = walk(root, blindfold)
            .ignored
            .iter()
            .filter_map(|line| line.split_once(" in ").map(|(path, _)| path.to_owned()))
            .collect();
        assert_eq!(found, BTreeSet::from([path.to_owned()]));
    }
}

fn remove(manifest: &mut Value, parents: &[&str], key: &str) {
    let parent = parents.iter().try_fold(manifest, |value, parent| value.get_mut(parent));
    if let Some(fields) = parent.and_then(Value::as_object_mut) {
        fields.remove(key);
    }
}
