//! How are settings of a running store changed?

use std::collections::BTreeMap;

use http::uri::Authority;
use serde_json::Value;
use tikv_operator_core::{
    report::{Failure, FailureKind},
    world::StoreId,
};

use super::{Hand, pd};
use crate::pd::PdError;

impl Hand<'_> {
    /// Sets the items and reads them back. The store answers 500 for one that cannot be changed
    /// while it runs, and then changes none. Before v7.4 it also does so for what it has changed:
    /// it does not know `persist=false` and cannot write its file, which is mounted read-only. So
    /// what it says afterwards decides.
    pub(super) async fn configure_store(
        &self,
        store: StoreId,
        status_address: &str,
        items: &BTreeMap<String, Value>,
    ) -> Result<(), Failure> {
        let whose = format!("store {store}");
        let status: Authority = status_address.parse().map_err(|_| Failure {
            kind: FailureKind::Stale,
            message: format!("{whose} has no status address: {status_address:?}"),
        })?;
        let set = self.hands.stores.configure(self.fence(), &status, items).await;
        let set =
            set.map_err(|error| failure(&format!("{whose}: setting {}", names(items)), &error));
        if set.as_ref().is_err_and(|failure| failure.kind != FailureKind::Refused) {
            return set;
        }
        let config = self.hands.stores.config(&status).await;
        let read = config
            .map_err(|error| pd::failure(&format!("{whose}: reading its configuration"), &error));
        let is = read.and_then(|config| {
            items.iter().try_for_each(|(item, value)| pd::verified(&whose, &config, item, value))
        });
        is.or_else(|failure| set.and(Err(failure)))
    }
}

/// A 500 is the store's way to refuse a key or a value.
fn failure(what: &str, error: &PdError) -> Failure {
    let failure = pd::failure(what, error);
    match error {
        PdError::Refused { status: 500, .. } => Failure { kind: FailureKind::Refused, ..failure },
        PdError::Connect(_)
        | PdError::Broken(_)
        | PdError::Slow(_)
        | PdError::TooLong(_)
        | PdError::NotBootstrapped
        | PdError::NotFound(_)
        | PdError::Refused { .. }
        | PdError::Malformed(_)
        | PdError::NoLeader(_)
        | PdError::Fenced(_) => failure,
    }
}

fn names(items: &BTreeMap<String, Value>) -> String {
    items.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}
