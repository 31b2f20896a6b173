//! What does Kubernetes say about a node that our pods run on?

use std::collections::BTreeMap;

use jiff::Timestamp;

/// The answer about one node.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeView {
    /// The API server said that there is no such node. Its containers may run on.
    Gone,
    /// It exists.
    Known(NodeFacts),
}

/// What is used of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    /// Condition `Ready` is `True`.
    pub ready: bool,
    /// Since when `Ready` has its present value, by Kubernetes' clock.
    pub ready_since: Option<Timestamp>,
    /// `spec.unschedulable`: cordoned, usually before a drain.
    pub cordoned: bool,
    /// It carries the taint `node.kubernetes.io/out-of-service`: someone vouches that it is off.
    pub out_of_service: bool,
    /// Its labels, for store labels and failure domains.
    pub labels: BTreeMap<String, String>,
}

impl NodeView {
    /// Kubernetes reports the node lost: gone, not ready, or vouched to be off.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Gone => true,
            Self::Known(node) => !node.ready || node.out_of_service,
        }
    }

    /// The node is cordoned.
    pub fn is_cordoned(&self) -> bool {
        match self {
            Self::Gone => false,
            Self::Known(node) => node.cordoned,
        }
    }
}
