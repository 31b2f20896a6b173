//! Between which pods do packets get lost?
//!
//! Only pods of different nodes can be parted: those of one node share a bridge.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::text;
use crate::nodes::{Lab, of_pod};

/// One end of a link: an address, and the node that forwards its packets if it is a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    address: String,
    node: Option<String>,
}

impl End {
    /// A pod.
    pub(crate) fn pod(pod: &Value) -> Result<Self> {
        let address = text(pod, "/status/podIP").context("the pod has no address")?;
        Ok(Self { address: address.to_owned(), node: Some(of_pod(pod)?) })
    }

    /// A server outside all nodes.
    pub(crate) fn outside(address: &str) -> Self {
        Self { address: address.to_owned(), node: None }
    }
}

/// Links that lose packets until this is dropped.
pub(crate) struct Lossy<'a> {
    lab: &'a Lab,
    nodes: BTreeSet<String>,
}

impl<'a> Lossy<'a> {
    /// None yet.
    pub(crate) fn new(lab: &'a Lab) -> Self {
        Self { lab, nodes: BTreeSet::new() }
    }

    /// What these send to those gets lost from now on, so many of a hundred packets. False: they
    /// cannot be parted.
    pub(crate) fn one_way(&mut self, from: &End, to: &End, percent: u8) -> Result<bool> {
        let Some(node) = from.node.clone().or_else(|| to.node.clone()) else { return Ok(false) };
        if from.node == to.node {
            return Ok(false);
        }
        self.nodes.insert(node.clone());
        self.lab.lose(&node, (&from.address, &to.address), percent)?;
        Ok(true)
    }

    /// The same in both directions between one and each of the others; at least one can be parted.
    pub(crate) fn parted(&mut self, one: &End, others: &[End], percent: u8) -> Result<()> {
        let mut parted = false;
        for other in others {
            parted |= self.one_way(one, other, percent)?;
            parted |= self.one_way(other, one, percent)?;
        }
        ensure!(parted, "{one:?} is on the node of all of {others:?}");
        Ok(())
    }
}

impl Drop for Lossy<'_> {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Err(e) = self.lab.deliver(node) {
                eprintln!("{node} goes on losing packets: {e:#}");
            }
        }
    }
}
