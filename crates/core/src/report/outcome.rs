//! What became of a step?

use crate::plan::Step;
use crate::world::{ConfigItem, Refusal};

/// A step and its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The step.
    pub step: Step,
    /// What came of it.
    pub result: Result<(), Failure>,
}

impl Outcome {
    /// The settings that were refused, for the memory of the process. What could not be asked is
    /// not refused.
    pub fn config_refusals(&self) -> Vec<(ConfigItem, Refusal)> {
        let Err(Failure { kind: FailureKind::Refused, message }) = &self.result else {
            return Vec::new();
        };
        let refusal =
            |value: &serde_json::Value| Refusal { value: value.clone(), words: message.clone() };
        if let Step::SetPdConfig { item, value } = &self.step {
            return vec![(ConfigItem::Pd(item.clone()), refusal(value))];
        }
        if let Step::SetStoreConfig { store, items, .. } = &self.step {
            let item = |(item, value): (&String, &serde_json::Value)| {
                (ConfigItem::Store(*store, item.clone()), refusal(value))
            };
            return items.iter().map(item).collect();
        }
        Vec::new()
    }

    /// May a server now take what it refused before? PD and TiKV check settings against each other,
    /// and each is set by itself: what was refused beside the old value of another may be taken
    /// beside its new one. Each setting that is taken is progress, so this comes to an end.
    pub fn outdates(&self, refused: &ConfigItem) -> bool {
        match (&self.result, refused) {
            (Err(_), _) => false,
            (Ok(()), ConfigItem::Pd(_)) => matches!(self.step, Step::SetPdConfig { .. }),
            (Ok(()), ConfigItem::Store(of, _)) => {
                matches!(&self.step, Step::SetStoreConfig { store, .. } if store == of)
            }
        }
    }
}

/// Without the settings that were refused before the same server took another one: they are tried
/// again at once, and nobody needs to hear of them.
pub(super) fn lasting(outcomes: &[Outcome]) -> Vec<Outcome> {
    let later = |index: usize| outcomes.iter().skip(index + 1);
    let passes = |(index, outcome): &(usize, &Outcome)| {
        let refused = outcome.config_refusals();
        !refused.is_empty()
            && refused.iter().all(|(item, _)| later(*index).any(|other| other.outdates(item)))
    };
    let outcomes = outcomes.iter().enumerate().filter(|outcome| !passes(outcome));
    outcomes.map(|(_, outcome)| outcome.clone()).collect()
}

/// Why a step was not done.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// The server's words, without secrets.
    pub message: String,
}

/// Kinds of failure, by what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The object changed or went since it was looked at: look again.
    Stale,
    /// An object of that name exists and is not ours.
    Foreign,
    /// The server refuses (quota, admission, invalid, forbidden): someone must act.
    Refused,
    /// No answer, or the server could not: try again.
    Unavailable,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::world::StoreId;

    #[test]
    fn a_setting_that_is_taken_makes_the_refusals_of_that_server_old() {
        let pd = Step::SetPdConfig { item: "a".into(), value: json!(1) };
        let store = Step::SetStoreConfig {
            store: StoreId(1),
            status_address: String::new(),
            items: BTreeMap::new(),
        };
        let refused = Failure { kind: FailureKind::Refused, message: "no".into() };
        let of = |id| ConfigItem::Store(StoreId(id), "b".into());
        for (step, result, want) in [
            (&pd, Ok(()), [true, false, false]),
            (&store, Ok(()), [false, true, false]),
            (&pd, Err(refused.clone()), [false; 3]),
            (&store, Err(refused), [false; 3]),
            (&Step::AddFinalizer, Ok(()), [false; 3]),
        ] {
            let outcome = Outcome { step: step.clone(), result };
            let old =
                [ConfigItem::Pd("b".into()), of(1), of(2)].map(|item| outcome.outdates(&item));
            assert_eq!(old, want, "{outcome:?}");
        }
    }

    #[test]
    fn a_refusal_that_is_followed_by_a_yes_is_not_told() {
        let set = |item: &str, refused: bool| Outcome {
            step: Step::SetPdConfig { item: item.into(), value: json!(1) },
            result: if refused {
                Err(Failure { kind: FailureKind::Refused, message: "no".into() })
            } else {
                Ok(())
            },
        };
        let (high, low) = (set("high", true), set("low", false));
        assert_eq!(lasting(&[high.clone(), low.clone()]), std::slice::from_ref(&low));
        assert_eq!(lasting(&[low.clone(), high.clone()]), [low, high.clone()]);
        assert_eq!(lasting(&[high.clone(), set("low", true)]).len(), 2);
    }
}
