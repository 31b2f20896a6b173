//! What does a pass derive at most once?
//!
//! Everybody asks for rosters and furniture, in every pass; some things are asked for by few, so they
//! are derived when they are first asked for.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::config_tikv::Online;
use super::{Outage, Roster};
use crate::world::{Component, Object, Slot};

/// What is derived at most once in a pass.
#[derive(Debug, Default)]
pub(super) struct Once<'a> {
    pub(super) occupied: Each<BTreeSet<Slot>>,
    pub(super) roster: Each<Roster>,
    pub(super) wanted: Each<Vec<Slot>>,
    pub(super) furniture: OnceCell<Vec<Cow<'a, Object>>>,
    pub(super) outage: OnceCell<Option<Outage>>,
    pub(super) online: OnceCell<BTreeMap<&'a str, Online<'a>>>,
}

/// One of something per component.
#[derive(Debug)]
pub(super) struct Each<T> {
    pd: OnceCell<T>,
    tikv: OnceCell<T>,
}

impl<T> Each<T> {
    pub(super) fn of(&self, component: Component) -> &OnceCell<T> {
        match component {
            Component::Pd => &self.pd,
            Component::Tikv => &self.tikv,
        }
    }
}

impl<T> Default for Each<T> {
    fn default() -> Self {
        Self { pd: OnceCell::new(), tikv: OnceCell::new() }
    }
}
