//! One promise per constant, one theme per file.

pub(crate) mod absence;
pub(crate) mod bad_input;
pub(crate) mod basic;
pub(crate) mod bootstrap;
pub(crate) mod drain;
pub(crate) mod drain_roll;
pub(crate) mod failover_pd;
pub(crate) mod failover_store;
pub(crate) mod furniture;
pub(crate) mod grow;
pub(crate) mod life_pd;
pub(crate) mod life_roll;
pub(crate) mod life_scale;
pub(crate) mod manifests;
pub(crate) mod namespace_gone;
pub(crate) mod neighbours;
pub(crate) mod online_config;
pub(crate) mod operator_gone;
pub(crate) mod quiet;
pub(crate) mod quorum_lost;
pub(crate) mod recreate;
pub(crate) mod revert;
pub(crate) mod standby;
pub(crate) mod strangers;
pub(crate) mod woken;
