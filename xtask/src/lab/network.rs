//! How are the machines joined, so that they reach each other and nothing else?
//!
//! The bridge lives in the control plane's network namespace. This machine has one link to it, the
//! routes to pods and Services, and no packet filter rule. No machine of the lab has a default route.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::process::{HOLDER, Processes};
use super::topology::{
    CONTROL_ADDRESS, HOST_ADDRESS, HOST_LINK, Machine, POD_RANGE, SERVICE_RANGE,
};
use crate::tools::shell;

/// The bridge's name inside the control plane's namespace.
const BRIDGE: &str = "br0";

/// Joins machines that were just started.
pub(crate) fn join(processes: &Processes, machines: &[Machine]) -> Result<()> {
    let control = Machine::control();
    let nodes: Vec<&Machine> = machines.iter().filter(|machine| machine.number > 0).collect();
    run_batch(processes, &control, &control_batch(&nodes))?;
    let pid = holder_pid(processes, &control)?;
    shell::output_with_input(Command::new("ip").args(["-batch", "-"]), &host_batch(pid, &nodes))?;
    run_batch(processes, &control, &format!("link set host master {BRIDGE} up\n"))?;
    for node in &nodes {
        let pid = holder_pid(processes, node)?;
        let link = format!(
            "link add {0} type veth peer name eth0 netns {pid}\nlink set {0} master {BRIDGE} up\n",
            node.name
        );
        run_batch(processes, &control, &link)?;
        run_batch(processes, node, &node_batch(node, &nodes))?;
    }
    Ok(())
}

/// Takes a node's cable out, or puts it back.
pub(crate) fn set_link(processes: &Processes, node: &Machine, up: bool) -> Result<()> {
    let state = if up { "up" } else { "down" };
    run_batch(processes, &Machine::control(), &format!("link set {} {state}\n", node.name))
}

/// Whether a node's cable is in.
pub(crate) fn link_is_up(processes: &Processes, node: &Machine) -> Result<bool> {
    let mut show = processes.command(&Machine::control(), "ip")?;
    let said = shell::output(show.args(["-oneline", "link", "show", "dev", &node.name]))?;
    Ok(said.split_once('<').is_some_and(|(_, flags)| {
        flags.split('>').next().unwrap_or_default().split(',').any(|flag| flag == "UP")
    }))
}

/// Whether this machine still has its link to a lab.
pub(crate) fn host_link_exists() -> bool {
    std::path::Path::new("/sys/class/net").join(HOST_LINK).exists()
}

/// Removes this machine's link; its routes and the other end go with it.
pub(crate) fn remove_host_link() -> Result<()> {
    if host_link_exists() {
        shell::output(Command::new("ip").args(["link", "delete", HOST_LINK]))?;
    }
    Ok(())
}

fn control_batch(nodes: &[&Machine]) -> String {
    let mut batch = format!(
        "link add {BRIDGE} type bridge\naddress add {CONTROL_ADDRESS}/24 dev {BRIDGE}\nlink set {BRIDGE} up\n\
         route add unreachable {SERVICE_RANGE}\nroute add unreachable {POD_RANGE}\n"
    );
    for node in nodes {
        batch.push_str(&pod_route(node));
    }
    batch
}

fn host_batch(control: i32, nodes: &[&Machine]) -> String {
    let mut batch = format!(
        "link add {HOST_LINK} type veth peer name host netns {control}\n\
         address add {HOST_ADDRESS}/24 dev {HOST_LINK}\nlink set {HOST_LINK} up\n\
         route add {SERVICE_RANGE} via {CONTROL_ADDRESS}\n"
    );
    for node in nodes {
        batch.push_str(&pod_route(node));
    }
    batch
}

fn node_batch(node: &Machine, nodes: &[&Machine]) -> String {
    // An address that no Service has goes to the control plane, which answers "unreachable". Doing so here would
    // come before the address translation of this node's own packets and end them all.
    let mut batch = format!(
        "address add {}/24 dev eth0\nlink set eth0 up\nroute add {SERVICE_RANGE} via {CONTROL_ADDRESS}\n",
        node.address()
    );
    for other in nodes.iter().filter(|other| other.number != node.number) {
        batch.push_str(&pod_route(other));
    }
    batch
}

fn pod_route(node: &Machine) -> String {
    format!("route add {} via {}\n", node.pod_range(), node.address())
}

fn run_batch(processes: &Processes, machine: &Machine, batch: &str) -> Result<()> {
    let mut command = processes.command(machine, "ip")?;
    shell::output_with_input(command.args(["-batch", "-"]), batch)
        .with_context(|| format!("cannot set up the network of {}", machine.name))?;
    Ok(())
}

fn holder_pid(processes: &Processes, machine: &Machine) -> Result<i32> {
    let holder = processes.running(machine, HOLDER);
    Ok(holder.with_context(|| format!("the machine {} does not run", machine.name))?.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_machine_gets_a_default_route_and_all_know_each_others_pods() {
        let nodes = Machine::nodes(3);
        let all: Vec<&Machine> = nodes.iter().collect();
        let second = node_batch(&nodes[1], &all);
        assert!(second.contains("route add 10.91.1.0/24 via 10.90.0.11\n"));
        assert!(second.contains("route add 10.91.3.0/24 via 10.90.0.13\n"));
        assert!(!second.contains("10.91.2.0/24"), "its own pods are on its own bridge");
        for batch in [second, control_batch(&all), host_batch(1, &all)] {
            assert!(!batch.contains("default"), "{batch}");
            assert!(!batch.contains("0.0.0.0/0"), "{batch}");
        }
    }
}
