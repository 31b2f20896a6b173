//! Which mistakes does somebody make in a spec, and takes back?
//!
//! Each is one that the API server lets through and `check` refuses: the last valid spec stays in force.
//! Their dice are their own: a history without mistakes is what
//! it would be if there were none.

use serde_json::Value;

use super::History;
use crate::kube::at;

/// Of a hundred histories so many have mistakes.
const WITH_MISTAKES: u64 = 20;

/// A field that is wrong.
#[derive(Clone, Copy, Debug)]
struct Mistake {
    field: &'static str,
    /// A value that is refused.
    bad: &'static str,
    /// One that says what no value says.
    good: &'static str,
}

const MISTAKES: [Mistake; 5] = [
    Mistake { field: "tlsCluster.enabled", bad: "true", good: "false" },
    Mistake { field: "tikv.envFrom", bad: "[{}]", good: "[]" },
    Mistake { field: "pd.additionalVolumes", bad: "[{\"name\":\"a\"}]", good: "[]" },
    Mistake { field: TIKV_CONFIG, bad: "{\"storage\":{\"data-dir\":\"/elsewhere\"}}", good: "{}" },
    Mistake { field: "pd.config", bad: "{\"join\":\"http://a:2379\"}", good: "{}" },
];

const TIKV_CONFIG: &str = "tikv.config";
/// The version that is asked for together with a mistake; no other edit asks for it.
const BESIDE: &str = "v8.5.11";
/// The setting that is asked for together with a mistake, and only then.
const SET_BESIDE: &str = "{\"server\":{\"grpc-concurrency\":9}}";

/// A spec has one of these mistakes in it.
pub(crate) fn is_mistaken(spec: &Value) -> bool {
    MISTAKES.iter().any(|mistake| {
        let found = at(spec, &format!("/{}", mistake.field.replace('.', "/")));
        !found.is_null() && *found == value(mistake.bad)
    })
}

/// What takes back every mistake that is in a spec.
pub(crate) fn corrections(spec: &Value) -> Vec<(Vec<&'static str>, Value)> {
    let made = MISTAKES.iter().filter(|mistake| {
        let found = at(spec, &format!("/{}", mistake.field.replace('.', "/")));
        *found == value(mistake.bad)
    });
    made.map(|mistake| (mistake.field.split('.').collect(), value(mistake.good))).collect()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl History {
    /// In some histories the specs of their clusters are wrong for a while, now and then from the beginning.
    pub(super) fn may_be_mistaken(&mut self) {
        self.has_mistakes = self.mistake_dice.chance(WITH_MISTAKES);
        if self.has_mistakes && self.mistake_dice.chance(15) {
            self.make_a_mistake();
        }
    }

    /// A mistake, now and then, beside what happens otherwise.
    pub(super) fn mistake(&mut self) {
        if self.has_mistakes && self.mistake_dice.chance(40) {
            self.make_a_mistake();
        }
    }

    /// Alone, or in an edit that asks for something else as well: that is in force once the mistake is taken
    /// back, unless it is taken back too.
    fn make_a_mistake(&mut self) {
        let Some(name) = self.mistake_dice.pick(&self.clusters).cloned() else { return };
        let Some(Mistake { field, bad, good }) = self.mistake_dice.pick(&MISTAKES).copied() else {
            return;
        };
        let (beside, before) = self.beside(&name, field).unwrap_or_default();
        let before = if self.mistake_dice.chance(50) { before } else { String::new() };
        let pause = self.mistake_dice.between(5, 200);
        self.obey(format!("edit {name} {field}={bad}{beside}"));
        self.later(pause, format!("edit {name} {field}={good}{before}"));
    }

    /// What is asked for beside a mistake in this field, and what takes that back.
    fn beside(&mut self, cluster: &str, field: &str) -> Option<(String, String)> {
        match self.mistake_dice.below(10) {
            0..=3 => {
                let before = self.spec(cluster, "/version")?.as_str()?;
                Some((format!(" version={BESIDE}"), format!(" version={before}")))
            }
            4 | 5 => {
                let now = self.stores(cluster).filter(|now| (3..5).contains(now))?;
                let asks = |stores: u64| format!(" tikv.replicas={stores}");
                Some((asks(now + 1), asks(now)))
            }
            6 | 7 if field != TIKV_CONFIG => {
                let before = self.spec(cluster, "/tikv/config").filter(|before| before.is_object());
                let before = before.map_or_else(|| "{}".to_owned(), ToString::to_string);
                Some((format!(" tikv.config={SET_BESIDE}"), format!(" tikv.config={before}")))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tikv_operator_core::check::check_value;

    use super::*;
    use crate::kube::set;

    fn with(field: &str, value: Value) -> Value {
        let mut resource = json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
            "metadata": {"name": "c", "namespace": "ns", "uid": "u", "generation": 1},
            "spec": {"version": "v8.5.7"},
        });
        let path: Vec<&str> = ["spec"].into_iter().chain(field.split('.')).collect();
        set(&mut resource, &path, value);
        resource
    }

    #[test]
    fn each_mistake_is_refused_and_what_takes_it_back_is_not() {
        for Mistake { field, bad, good } in MISTAKES {
            let wrong = with(field, value(bad));
            assert!(is_mistaken(&wrong["spec"]), "{field}");
            assert!(check_value(&wrong).is_err(), "{field}");
            let right = with(field, value(good));
            assert!(!is_mistaken(&right["spec"]), "{field}");
            check_value(&right).expect(field);
            let path: Vec<&str> = field.split('.').collect();
            assert_eq!(corrections(&wrong["spec"]), [(path, value(good))], "{field}");
        }
    }
}
