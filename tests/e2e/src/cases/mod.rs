//! One promise per constant, one theme per file.

pub(crate) mod bad_input;
pub(crate) mod basic;
pub(crate) mod bootstrap;
pub(crate) mod furniture;
pub(crate) mod manifests;
pub(crate) mod neighbours;
pub(crate) mod operator_gone;
pub(crate) mod quiet;
pub(crate) mod recreate;
pub(crate) mod strangers;
