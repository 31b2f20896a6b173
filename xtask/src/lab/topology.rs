//! Which machines does the lab have, at which addresses, and where are their files?
//!
//! ```text
//!  this machine                 control (own network)                  node-N (own network and mounts)
//!  tkvlab0 10.90.0.254 ──veth── bridge br0 10.90.0.1 ───────veth────── eth0 10.90.0.(10+N)
//!  route to pods and Services   etcd, API server, DNS, volumes         cni0 10.91.N.1, pods 10.91.N.0/24
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The interface by which this machine reaches the lab; its only trace in this machine's network.
pub(crate) const HOST_LINK: &str = "tkvlab0";
/// This machine's address on the lab's bridge.
pub(crate) const HOST_ADDRESS: &str = "10.90.0.254";
/// The control plane: API server, DNS.
pub(crate) const CONTROL_ADDRESS: &str = "10.90.0.1";
/// Range of the pods of all nodes.
pub(crate) const POD_RANGE: &str = "10.91.0.0/16";
/// Range of Service addresses.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The `kubernetes` Service: the first address of the range.
pub(crate) const API_SERVICE_ADDRESS: &str = "10.96.0.1";
/// Suffix of names in the cluster's DNS.
pub(crate) const CLUSTER_DOMAIN: &str = "cluster.local";
/// Name of the lab's part of the cgroup tree.
pub(crate) const CGROUP: &str = "tikv-operator-lab";
/// The most nodes for which the address plan and a machine's memory make sense.
pub(crate) const MOST_NODES: u8 = 20;

/// Where the lab keeps its files. This is the one place that decides it.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    run: PathBuf,
    data: PathBuf,
}

impl Layout {
    /// State, sockets and logs in `/run`; images, volumes and etcd's data in `/var/lib`, or below
    /// `$TIKV_OPERATOR_LAB_DATA` where that disk does not suit (an overlay, a full one).
    pub(crate) fn of_this_machine() -> Self {
        let data = std::env::var_os("TIKV_OPERATOR_LAB_DATA").filter(|value| !value.is_empty());
        Self {
            run: PathBuf::from("/run/tikv-operator-lab"),
            data: data
                .map_or_else(|| PathBuf::from("/var/lib"), PathBuf::from)
                .join("tikv-operator-lab"),
        }
    }

    /// Small files that a reboot may lose.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// Large files.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Logs, one file per program.
    pub(crate) fn logs(&self) -> PathBuf {
        self.run.join("logs")
    }

    /// Keys and certificates.
    pub(crate) fn pki(&self) -> PathBuf {
        self.run.join("pki")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.run.join("kubeconfig")
    }

    /// The API server's audit log.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// Small files of one machine.
    pub(crate) fn machine_run(&self, machine: &Machine) -> PathBuf {
        self.run.join(&machine.name)
    }

    /// Large files of one machine.
    pub(crate) fn machine_data(&self, machine: &Machine) -> PathBuf {
        self.data.join(&machine.name)
    }
}

/// One simulated machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `control` or the node's name in Kubernetes.
    pub(crate) name: String,
    /// 0 for the control plane, else the node's number from 1.
    pub(crate) number: u8,
}

impl Machine {
    /// The machine that runs the control plane.
    pub(crate) fn control() -> Self {
        Self { name: "control".to_owned(), number: 0 }
    }

    /// The nodes of a lab of this size.
    pub(crate) fn nodes(count: u8) -> Vec<Self> {
        (1..=count).map(|number| Self { name: format!("node-{number}"), number }).collect()
    }

    /// Control plane and nodes.
    pub(crate) fn all(count: u8) -> Vec<Self> {
        let mut all = vec![Self::control()];
        all.extend(Self::nodes(count));
        all
    }

    /// The node of that name in a lab of this size.
    pub(crate) fn node(name: &str, count: u8) -> Result<Self> {
        let found = Self::nodes(count).into_iter().find(|node| node.name == name);
        found.map_or_else(|| bail!("there is no node {name}; there are node-1 to node-{count}"), Ok)
    }

    /// Address on the bridge.
    pub(crate) fn address(&self) -> String {
        if self.number == 0 {
            CONTROL_ADDRESS.to_owned()
        } else {
            format!("10.90.0.{}", self.number.saturating_add(10))
        }
    }

    /// Range of this node's pods.
    pub(crate) fn pod_range(&self) -> String {
        format!("10.91.{}.0/24", self.number)
    }

    /// Value of the label `topology.kubernetes.io/zone`.
    pub(crate) fn zone(&self) -> String {
        format!("zone-{}", self.number)
    }

    /// The machine's own programs in the cgroup tree.
    pub(crate) fn system_cgroup(&self) -> String {
        format!("{CGROUP}/{}/system", self.name)
    }

    /// The machine's pods in the cgroup tree.
    pub(crate) fn pods_cgroup(&self) -> String {
        format!("{CGROUP}/{}/pods", self.name)
    }

    /// All of the machine in the cgroup tree.
    pub(crate) fn cgroup(&self) -> String {
        format!("{CGROUP}/{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_addresses_of_their_own() {
        let all = Machine::all(MOST_NODES);
        let mut addresses: Vec<String> = all.iter().map(Machine::address).collect();
        addresses.push(HOST_ADDRESS.to_owned());
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), usize::from(MOST_NODES) + 2);
        assert_eq!(Machine::node("node-2", 3).unwrap().address(), "10.90.0.12");
        assert_eq!(Machine::node("node-2", 3).unwrap().pod_range(), "10.91.2.0/24");
        assert!(Machine::node("node-4", 3).is_err());
        assert!(Machine::node("control", 3).is_err());
    }
}
