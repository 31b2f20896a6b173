//! What is true of the lab at this moment?

use std::fmt::Write as _;

use anyhow::Result;

use super::process::HOLDER;
use super::state::{self, State};
use super::topology::{Layout, Machine};
use super::{Lab, control, down, network, node};
use crate::tools::shell;

/// Programs that should run and do not.
pub(super) fn ended(lab: &Lab) -> Vec<(Machine, &'static str)> {
    let mut found = Vec::new();
    for machine in Machine::all(lab.nodes) {
        let services = if machine.number == 0 { control::SERVICES } else { node::SERVICES };
        for service in std::iter::once(&HOLDER).chain(services) {
            if lab.processes.record(&machine, service).is_some_and(|record| !record.is_alive()) {
                found.push((machine.clone(), *service));
            }
        }
    }
    found
}

/// Describes the lab; the flag says whether it is wholly up.
pub(crate) fn describe() -> Result<(String, bool)> {
    let layout = Layout::of_this_machine();
    let left = down::leftovers(&layout)?;
    if left.is_empty() {
        return Ok(("no lab (start one with `cargo xtask lab up`)\n".to_owned(), false));
    }
    match State::read(&layout) {
        Some(state) if state.complete && state.boot == state::boot() => describe_lab(&Lab::open()?),
        Some(_) | None => Ok((
            format!(
                "an interrupted or ended lab: {}\n`cargo xtask lab up` starts it anew, `cargo xtask lab down` removes it\n",
                left.join("; ")
            ),
            false,
        )),
    }
}

fn describe_lab(lab: &Lab) -> Result<(String, bool)> {
    let mut text = String::new();
    let mut whole = true;
    for machine in Machine::all(lab.nodes) {
        let services = if machine.number == 0 { control::SERVICES } else { node::SERVICES };
        let mut words = Vec::new();
        for service in std::iter::once(&HOLDER).chain(services) {
            let alive = lab.processes.running(&machine, service);
            whole &= alive.is_some();
            words.push(alive.map_or_else(
                || format!("{service} ENDED"),
                |record| format!("{service} {}", record.pid),
            ));
        }
        if lab.trees.is_frozen(&machine.cgroup()) {
            whole = false;
            words.push("FROZEN".to_owned());
        }
        if machine.number > 0 && !network::link_is_up(&lab.processes, &machine).unwrap_or(false) {
            whole = false;
            words.push("CUT OFF".to_owned());
        }
        writeln!(text, "{:8} {:11} {}", machine.name, machine.address(), words.join(", "))?;
    }
    match shell::output(lab.kubectl()?.args(["--request-timeout=5s", "get", "nodes", "-o", "wide"]))
    {
        Ok(nodes) => {
            let ready = nodes.lines().filter(|l| l.split_whitespace().nth(1) == Some("Ready"));
            whole &= ready.count() == usize::from(lab.nodes);
            text.push_str(&nodes);
        }
        Err(error) => {
            whole = false;
            writeln!(text, "the API server does not answer: {error}")?;
        }
    }
    writeln!(text, "kubeconfig {}", lab.kubeconfig().display())?;
    writeln!(text, "logs       {}", lab.layout.logs().display())?;
    Ok((text, whole))
}
