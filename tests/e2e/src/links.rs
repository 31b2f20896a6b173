//! Between which pods do packets get lost, or come late?
//!
//! Only pods of different nodes can be parted: those of one node share a bridge.

use std::collections::BTreeSet;
use std::time::Duration;

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

/// What happens to packets on a bad link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    /// So many of a hundred are lost.
    Lost(u8),
    /// All come later by this time.
    Late(Duration),
}

/// Links that are bad until this is dropped.
pub(crate) struct BadLinks<'a> {
    lab: &'a Lab,
    nodes: BTreeSet<String>,
}

impl<'a> BadLinks<'a> {
    /// None yet.
    pub(crate) fn new(lab: &'a Lab) -> Self {
        Self { lab, nodes: BTreeSet::new() }
    }

    /// This happens from now on to what one sends to the other. False: nothing can be done to it.
    pub(crate) fn one_way(&mut self, from: &End, to: &End, harm: Harm) -> Result<bool> {
        let Some(node) = from.node.clone().or_else(|| to.node.clone()) else { return Ok(false) };
        if from.node == to.node {
            return Ok(false);
        }
        self.nodes.insert(node.clone());
        let way = (from.address.as_str(), to.address.as_str());
        match harm {
            Harm::Lost(percent) => self.lab.lose(&node, way, percent)?,
            Harm::Late(by) => self.lab.delay(&node, way, by)?,
        }
        Ok(true)
    }

    /// The same in both directions between one and each of the others, but for those of its node;
    /// there is another.
    pub(crate) fn between(&mut self, one: &End, others: &[End], harm: Harm) -> Result<()> {
        let mut done = false;
        for other in others {
            done |= self.one_way(one, other, harm)?;
            done |= self.one_way(other, one, harm)?;
        }
        ensure!(done, "{one:?} is on the node of all of {others:?}");
        Ok(())
    }

    /// Makes them good again; how many packets were late.
    pub(crate) fn mend(mut self) -> Result<u64> {
        let late = self.nodes.iter().map(|node| self.lab.deliver(node)).sum::<Result<u64>>()?;
        self.nodes.clear();
        Ok(late)
    }
}

impl Drop for BadLinks<'_> {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Err(e) = self.lab.deliver(node) {
                eprintln!("{node} goes on losing packets or holding them back: {e:#}");
            }
        }
    }
}
