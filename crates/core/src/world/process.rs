//! What does a store say of itself?

use std::sync::Arc;

use serde_json::Value;

/// Answers of one store's status port. PD's counts lag by a minute; these do not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreProcess {
    /// Regions that it leads (`tikv_raftstore_region_count{type="leader"}`); `None`: not asked or
    /// not answered.
    pub leaders: Option<u64>,
    /// Its effective configuration (`GET /config`), nested; `None`: not asked or not answered.
    pub config: Option<Arc<Value>>,
}
