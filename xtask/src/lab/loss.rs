//! Which packets between pods does a node lose?
//!
//! A chain of our own in the node's packet filter, which Kubernetes' proxy leaves alone. It sees what
//! the node forwards: packets of its pods to those of other nodes, with the addresses of pods also
//! where a Service was asked. Pods of one node talk over one bridge and are not seen.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use clap::Args;

use super::process::Processes;
use super::topology::Machine;
use crate::tools::shell;

const CHAIN: &str = "LAB-LOSS";

/// Packets that get lost on their way from one address to another. The way back stays as it is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Loss {
    /// Their source.
    #[arg(long)]
    from: Ipv4Addr,
    /// Their target.
    #[arg(long)]
    to: Ipv4Addr,
    /// How many of a hundred, by chance.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
}

impl Loss {
    fn rule(&self) -> String {
        let chance = match self.percent {
            100 => String::new(),
            percent => {
                let share = f32::from(percent) / 100.0;
                format!(" -m statistic --mode random --probability {share:.2}")
            }
        };
        format!("-A {CHAIN} -s {} -d {}{chance} -j DROP", self.from, self.to)
    }
}

/// A node loses these packets too, from now on.
pub(crate) fn begin(processes: &Processes, node: &Machine, loss: &Loss) -> Result<()> {
    let filter = |words: &[&str]| {
        let mut command = processes.command(node, "iptables")?;
        shell::output(command.arg("--wait").args(words))
    };
    if filter(&["--check", "FORWARD", "--jump", CHAIN]).is_err() {
        let chain = format!("*filter\n:{CHAIN} - [0:0]\n-I FORWARD 1 -j {CHAIN}\nCOMMIT\n");
        restore(processes, node, &chain)?;
    }
    restore(processes, node, &format!("*filter\n{}\nCOMMIT\n", loss.rule()))
}

/// A node loses no packets any more; true if it did.
pub(crate) fn end(processes: &Processes, node: &Machine) -> Result<bool> {
    let mut command = processes.command(node, "iptables")?;
    // Without the chain nothing was lost.
    let Ok(rules) = shell::output(command.args(["--wait", "--list-rules", CHAIN])) else {
        return Ok(false);
    };
    let mut flush = processes.command(node, "iptables")?;
    shell::output(flush.args(["--wait", "--flush", CHAIN]))?;
    Ok(rules.lines().any(|rule| rule.starts_with("-A")))
}

fn restore(processes: &Processes, node: &Machine, rules: &str) -> Result<()> {
    let mut command = processes.command(node, "iptables-restore")?;
    shell::output_with_input(command.args(["--wait", "--noflush"]), rules)
        .with_context(|| format!("cannot set the packet filter of {}", node.name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_direction_is_lost_wholly_or_by_chance() {
        let (from, to) = (Ipv4Addr::new(10, 91, 1, 2), Ipv4Addr::new(10, 91, 2, 3));
        let all = Loss { from, to, percent: 100 };
        assert_eq!(all.rule(), "-A LAB-LOSS -s 10.91.1.2 -d 10.91.2.3 -j DROP");
        let some = Loss { from, to, percent: 30 };
        assert!(some.rule().contains("--probability 0.30 -j DROP"), "{}", some.rule());
    }
}
