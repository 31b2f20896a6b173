//! What is done to the cluster, on purpose and by chance?

use std::collections::BTreeSet;
use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tikv_operator_api::names::Component;

use super::Stage;
use crate::links::{BadLinks, End, Harm};
use crate::nodes::of_pod;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// All stores restart, one after the other.
    RollStores(u32),
    /// All PD members restart.
    RollPd(u32),
    /// A setting that servers take over while they run.
    Online(u32),
    /// `kubectl scale`.
    Scale(u32),
    /// `kill -9` of a server's process.
    KillServer,
    /// A pod is deleted.
    DeletePod,
    /// A node stands still for seconds.
    Freeze(u64),
    /// A node goes off and on.
    Reboot(u64),
    /// `kill -9` of the operator.
    KillOperator,
    /// A third of the packets between stores is lost for seconds.
    BadLinks(u64),
    /// What one store and the others send each other is 200 ms late for seconds.
    SlowLinks(u64),
    /// A PD member reaches no other one for seconds.
    CutPd(u64),
}

impl Act {
    /// Somebody wants it.
    pub(super) fn is_on_purpose(&self) -> bool {
        matches!(self, Self::RollStores(_) | Self::RollPd(_) | Self::Online(_) | Self::Scale(_))
    }

    /// Does it; faults are over when this returns.
    pub(super) fn apply(&self, stage: &Stage<'_>, dice: &mut fastrand::Rng) -> Result<()> {
        let spec = |spec| stage.cluster.merge(&json!({ "spec": spec }));
        match self {
            // Servers take these two items at a start only.
            Self::RollStores(n) => {
                spec(json!({ "tikv": { "config": { "server": { "grpc-concurrency": n } } } }))
            }
            Self::RollPd(n) => {
                spec(json!({ "pd": { "config": { "log": { "file": { "max-backups": n } } } } }))
            }
            Self::Online(n) => {
                spec(json!({ "pd": { "config": { "schedule": { "leader-schedule-limit": n } } } }))
            }
            Self::Scale(n) => spec(json!({ "tikv": { "replicas": n } })),
            Self::KillServer => {
                let (pod, node) = stage.drawn(dice)?;
                stage.lab.kill(&node, (&stage.cluster, &pod))
            }
            Self::DeletePod => {
                let (pod, _) = stage.drawn(dice)?;
                stage.scene.kube.delete(&format!("{}/{pod}", stage.cluster.core("pods")), None)
            }
            Self::Freeze(seconds) => {
                let Some(node) = stage.node(dice)? else { return Ok(()) };
                let _frozen = stage.lab.freeze(&node)?;
                sleep(Duration::from_secs(*seconds));
                Ok(())
            }
            Self::Reboot(seconds) => {
                let Some(node) = stage.node(dice)? else { return Ok(()) };
                let off = stage.lab.off(&node)?;
                sleep(Duration::from_secs(*seconds));
                off.on(&stage.scene.kube)
            }
            Self::KillOperator => stage.scene.kill_operator(),
            Self::BadLinks(s) => stage.harm(Component::Tikv, Harm::Lost(30), *s, dice),
            Self::SlowLinks(s) => {
                let late = Harm::Late(Duration::from_millis(200));
                stage.harm(Component::Tikv, late, *s, dice)
            }
            Self::CutPd(s) => stage.harm(Component::Pd, Harm::Lost(100), *s, dice),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RollStores(_) => f.write_str("all stores restart"),
            Self::RollPd(_) => f.write_str("all of PD restarts"),
            Self::Online(_) => f.write_str("a setting changes"),
            Self::Scale(n) => write!(f, "{n} stores wanted"),
            Self::KillServer => f.write_str("a server is killed"),
            Self::DeletePod => f.write_str("a pod is deleted"),
            Self::Freeze(s) => write!(f, "a node stands still for {s} s"),
            Self::Reboot(s) => write!(f, "a node is off for {s} s"),
            Self::KillOperator => f.write_str("the operator is killed"),
            Self::BadLinks(s) => write!(f, "bad links between stores for {s} s"),
            Self::SlowLinks(s) => write!(f, "slow links between stores for {s} s"),
            Self::CutPd(s) => write!(f, "a PD member alone for {s} s"),
        }
    }
}

/// What was asked for so far.
#[derive(Clone, Debug)]
pub(super) struct Purposes {
    /// Stores wanted.
    pub(super) stores: u32,
    /// Scale-ins asked for.
    pub(super) left: u32,
    edits: u32,
}

impl Default for Purposes {
    fn default() -> Self {
        Self { stores: 3, left: 0, edits: 0 }
    }
}

impl Purposes {
    /// Something to do on purpose, or nothing.
    pub(super) fn draw(&mut self, dice: &mut fastrand::Rng) -> Option<Act> {
        self.edits += 1;
        Some(match dice.u8(0..10) {
            0 | 1 => Act::RollStores(3 + self.edits % 3),
            2 => Act::RollPd(1 + self.edits % 7),
            3 | 4 => Act::Online(4 + self.edits % 5),
            5 | 6 => {
                self.left += u32::from(self.stores == 4);
                self.stores = 7 - self.stores;
                Act::Scale(self.stores)
            }
            _ => return None,
        })
    }
}

/// What happens besides.
pub(super) struct Faults {
    /// The operator is left alone.
    pub(super) spare_operator: bool,
}

impl Faults {
    /// None to two of them.
    pub(super) fn draw(&self, dice: &mut fastrand::Rng) -> Vec<Act> {
        let count = dice.u8(0..3);
        (0..count).filter_map(|_| self.one(dice)).collect()
    }

    fn one(&self, dice: &mut fastrand::Rng) -> Option<Act> {
        let seconds = dice.u64(5..26);
        Some(match dice.u8(0..8) {
            0 => Act::KillServer,
            1 => Act::DeletePod,
            2 => Act::Freeze(seconds),
            3 => Act::Reboot(seconds / 2),
            4 if self.spare_operator => return None,
            4 => Act::KillOperator,
            5 => Act::BadLinks(seconds),
            6 => Act::SlowLinks(seconds),
            _ => Act::CutPd(seconds),
        })
    }
}

impl Stage<'_> {
    /// A pod that may be broken, and its node.
    fn drawn(&self, dice: &mut fastrand::Rng) -> Result<(String, String)> {
        dice.choice(self.fragile()?).context("no pod is on a node that may be broken")
    }

    /// A node that may be broken. The operator's is none once its memory is watched.
    fn node(&self, dice: &mut fastrand::Rng) -> Result<Option<String>> {
        let mut nodes: BTreeSet<String> =
            self.fragile()?.into_iter().map(|(_, node)| node).collect();
        if self.spare_operator {
            nodes.remove(&of_pod(&self.scene.operator.leader()?)?);
        }
        Ok(dice.choice(nodes))
    }

    /// This happens to what one server and the others of its kind send each other.
    fn harm(
        &self,
        component: Component,
        harm: Harm,
        seconds: u64,
        dice: &mut fastrand::Rng,
    ) -> Result<()> {
        let pods = self.cluster.pods(Some(component))?;
        // A pod that is being made anew has no address: there is no link to cut.
        let mut ends: Vec<End> = pods.values().filter_map(|pod| End::pod(pod).ok()).collect();
        dice.shuffle(&mut ends);
        let Some((one, others)) = ends.split_first() else { return Ok(()) };
        let mut links = BadLinks::new(self.lab);
        for other in others {
            links.one_way(one, other, harm)?;
            links.one_way(other, one, harm)?;
        }
        sleep(Duration::from_secs(seconds));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_and_every_act_comes() {
        let draw = |seed| {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut purposes = Purposes::default();
            let acts = (0..400).flat_map(|_| {
                let mut acts: Vec<Act> = purposes.draw(&mut dice).into_iter().collect();
                acts.extend(Faults { spare_operator: false }.draw(&mut dice));
                acts
            });
            acts.collect::<Vec<Act>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let kinds: BTreeSet<_> = draw(7)
            .iter()
            .map(|act| format!("{act:?}").split('(').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
    }

    #[test]
    fn stores_are_three_or_four_and_those_that_leave_are_counted() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut purposes = Purposes::default();
        for _ in 0..200 {
            purposes.draw(&mut dice);
            assert!((3..=4).contains(&purposes.stores));
        }
        assert!(purposes.left > 3);
    }
}
