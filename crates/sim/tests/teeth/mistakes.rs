//! Do histories have specs that are refused, and is an operator caught that trusts one?

use std::cell::Cell;

use serde_json::Value;
use tikv_operator_api::v1alpha1::TikvCluster;
use tikv_operator_core::check::{Rejection, check};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_sim::history;
use tikv_operator_sim::kube::{at, text};
use tikv_operator_sim::operator::Brain;
use tikv_operator_sim::universe::Universe;

use super::{caught_by, found_by};

const REFUSED: &str = "scenario 7: nothing of a spec that is refused";
const SAID: &str = "scenario 7: a condition says";

/// One that goes by the rest of a spec where a part of it is refused.
fn trusts(resource: &TikvCluster) -> Result<Cluster, Rejection> {
    check(resource).or_else(|rejection| {
        let mut body = serde_json::to_value(resource).unwrap();
        let wrong = [
            ("/spec", "tlsCluster"),
            ("/spec/pd", "additionalVolumes"),
            ("/spec/tikv", "envFrom"),
            ("/spec/tikv/config", "storage"),
            ("/spec/pd/config", "join"),
        ];
        for (place, field) in wrong {
            if let Some(fields) = body.pointer_mut(place).and_then(Value::as_object_mut) {
                fields.shift_remove(field);
            }
        }
        check(&serde_json::from_value(body).unwrap()).map_err(|_| rejection)
    })
}

#[test]
fn one_that_trusts_a_spec_that_is_refused() {
    let brain = Brain { check: trusts, ..Brain::default() };
    for (finding, known) in [(REFUSED, 3), (SAID, 0)] {
        let seed = caught_by(known, brain, finding);
        eprintln!("one that trusts a spec that is refused: {finding}: seed {seed:?}");
        assert!(seed.is_some(), "{finding}");
    }
}

thread_local! {
    /// The last valid spec is in force; none is.
    static REFUSED_SEEN: Cell<(bool, bool)> = const { Cell::new((false, false)) };
}

fn watch(universe: &mut Universe) {
    for cluster in universe.kube.list("TikvCluster") {
        let mut conditions = at(cluster, "/status/conditions").as_array().into_iter().flatten();
        let refused = conditions.find(|condition| text(condition, "/reason") == "InvalidSpec");
        if let Some(refused) = refused {
            let kept = text(refused, "/message").contains("stays in force");
            let (with, without) = REFUSED_SEEN.get();
            REFUSED_SEEN.set((with || kept, without || !kept));
        }
    }
}

#[test]
fn some_histories_have_specs_that_are_refused() {
    let (mut with, mut without) = (0, 0);
    for seed in 0..100 {
        REFUSED_SEEN.set((false, false));
        history::run_briefly(seed, |harness| harness.watcher = Some(watch));
        with += usize::from(REFUSED_SEEN.get().0);
        without += usize::from(REFUSED_SEEN.get().1);
    }
    assert!(with >= 8 && without >= 3, "{with} and {without} of 100");
}

/// Nothing is found where nothing is wrong.
#[test]
fn one_that_goes_by_the_last_valid_spec_is_not_caught() {
    assert_eq!(found_by(0, "scenario 7", |_| {}, 100), None);
}
