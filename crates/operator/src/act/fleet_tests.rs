//! What becomes of a hundred clusters that want to take something away at once?

use std::slice::from_ref;

use tikv_operator_core::{
    plan::Step,
    report::{Failure, FailureKind},
    world::StoreId,
};

use super::bench::{address, again, hands, held, look, pd};
use crate::{budget::Limits, fake::Fake};

const LIMITS: Limits = Limits { per_cluster: 4, overall: 20 };

#[tokio::test]
async fn f80_a_hundred_clusters_take_away_no_more_than_one_operator_may() {
    let fake = Fake::run(pd(again(3, 4), |_| None)).await;
    let hands = hands(None, held(), LIMITS);
    let step = Step::OfflineStore { store: StoreId(3), address: address(2) };
    let mut refused: Vec<Failure> = Vec::new();
    for n in 0..100 {
        let mut look = look(&again(3, 4), from_ref(&fake.address));
        look.key.name = format!("c-{n}");
        let acted = hands.act(&look, from_ref(&step)).await;
        refused.extend(acted.outcomes.into_iter().filter_map(|outcome| outcome.result.err()));
    }
    assert_eq!(fake.changes().len(), 20);
    assert_eq!(refused.len(), 80);
    for failure in refused {
        assert_eq!(failure.kind, FailureKind::Refused);
        let words = "the limit of 20 disruptive steps per hour by this operator is reached";
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}
