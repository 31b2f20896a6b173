//! Which packets between pods does a node hold back for a while?
//!
//! Few kernels have the queue that is made for this (netem). So the node leads these packets through
//! a device of ours: a program keeps each for the time, and gives it back to the node, which then
//! forwards it as it would have. As with lost packets, pods of one node are not seen.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use super::process::{self, Processes, Service};
use super::topology::Machine;
use crate::tools::shell;
use rustix::process::Signal;

/// Name of the program's record, and of its device.
const NAME: &str = "lab-delay";
/// Table and priority of the routes through the device; packets that come from it are looked up first.
const TABLE: &str = "91";
const BACK: &str = "90";
/// Packets that wait at the same time; more are dropped, as in any queue.
const MOST: usize = 10_000;
/// As the lab's other links.
const MTU: u16 = 1500;
/// Longest time until the device is there.
const BEGIN: Duration = Duration::from_secs(10);

/// Packets that are late on their way from one address to another. The way back stays as it is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Lateness {
    /// Their source.
    #[arg(long)]
    from: Ipv4Addr,
    /// Their target.
    #[arg(long)]
    to: Ipv4Addr,
    /// By how much, the same for all of a node.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    millis: u16,
}

/// The program: gives every packet back after this time, until it is ended.
pub(crate) fn hold_back(by: Duration) -> Result<()> {
    let mut wanted = tun::Configuration::default();
    wanted.tun_name(NAME).mtu(MTU).up();
    let device = tun::create(&wanted).context("no device for packets (/dev/net/tun)")?;
    let device = Arc::new(device);
    let (queue, waiting) = mpsc::sync_channel::<(Instant, Vec<u8>)>(MOST);
    let back = Arc::clone(&device);
    thread::spawn(move || {
        for (due, packet) in waiting {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // What the node does not take any more is lost, as on a real link.
            back.send(&packet).ok();
        }
    });
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = device.recv(&mut buffer)?;
        let packet = buffer.get(..length).unwrap_or_default().to_vec();
        queue.try_send((Instant::now() + by, packet)).ok();
    }
}

/// A node holds back these packets too, from now on.
pub(crate) fn begin(processes: &Processes, node: &Machine, delay: &Lateness) -> Result<()> {
    let millis = delay.millis.to_string();
    if let Some(other) = processes.running(node, NAME).and_then(|record| time_of(record.pid)) {
        if other != millis {
            bail!("{} holds back by {other} ms until `lab fault deliver {0}`", node.name);
        }
    } else {
        start(processes, node, &millis)?;
    }
    let (from, to) = (format!("{}/32", delay.from), format!("{}/32", delay.to));
    ip(processes, node, &["route", "replace", &to, "dev", NAME, "table", TABLE])?;
    ip(
        processes,
        node,
        &["rule", "add", "priority", TABLE, "from", &from, "to", &to, "lookup", TABLE],
    )
    .map(drop)
}

/// Starts the program with all that it needs. One that has only a part of it would lead packets astray.
fn start(processes: &Processes, node: &Machine, millis: &str) -> Result<()> {
    begun(processes, node, millis).inspect_err(|_| {
        clear(processes, node);
        if let Some(record) = processes.running(node, NAME) {
            // What goes wrong now is less than what went wrong before.
            drop(process::signal(&record, Signal::KILL));
        }
    })
}

/// Starts the program, and lets what comes back from it go on as if it had never left.
fn begun(processes: &Processes, node: &Machine, millis: &str) -> Result<()> {
    // A node that went off meanwhile took the program with it, and nothing else.
    clear(processes, node);
    let program = std::env::current_exe()?;
    let words = ["lab", "hold-back", millis];
    processes.start(node, Service::new(NAME, &program).args(words))?;
    let begin = Instant::now();
    // An error while there is no such device, and nothing while it is not up.
    let is_up = || ip(processes, node, &["link", "show", "dev", NAME, "up"]);
    while !is_up().is_ok_and(|found| !found.is_empty()) {
        if begin.elapsed() > BEGIN || processes.running(node, NAME).is_none() {
            bail!("{} cannot hold back packets; see {}-{NAME}.log", node.name, node.name);
        }
        thread::sleep(Duration::from_millis(20));
    }
    ip(processes, node, &["rule", "add", "priority", BACK, "iif", NAME, "lookup", "main"])?;
    let mut filter = processes.command(node, "sysctl")?;
    shell::output(filter.args(["-w", &format!("net.ipv4.conf.{NAME}.rp_filter=0")]))?;
    // The node knows the connection from the packet's first visit, maybe under a Service's address.
    tracking(processes, node, "--append")
}

fn tracking(processes: &Processes, node: &Machine, action: &str) -> Result<()> {
    let mut filter = processes.command(node, "iptables")?;
    filter.args(["--wait", "--table", "raw", action, "PREROUTING", "--in-interface", NAME]);
    shell::output(filter.args(["--jump", "CT", "--notrack"])).map(drop)
}

/// A node holds back nothing any more; how many packets were late.
pub(crate) fn end(processes: &Processes, node: &Machine) -> Result<u64> {
    let Some(record) = processes.running(node, NAME) else {
        clear(processes, node);
        return Ok(0);
    };
    // What the device sends the program receives.
    let late = ip(processes, node, &["-json", "-stats", "link", "show", "dev", NAME])?;
    let late = serde_json::from_str::<Value>(&late)?;
    let late = late.pointer("/0/stats64/tx/packets").and_then(Value::as_u64);
    clear(processes, node);
    // Its device goes with it, and the routes with the device.
    process::signal(&record, Signal::KILL)?;
    late.with_context(|| format!("{} does not say how many packets were late", node.name))
}

/// Leads no packets through the device any more, however often and whether or not any were.
fn clear(processes: &Processes, node: &Machine) {
    for priority in [TABLE, BACK] {
        while ip(processes, node, &["rule", "del", "priority", priority]).is_ok() {}
    }
    while tracking(processes, node, "--delete").is_ok() {}
}

fn ip(processes: &Processes, node: &Machine, words: &[&str]) -> Result<String> {
    let mut command: Command = processes.command(node, "ip")?;
    shell::output(command.args(words))
}

/// The time that a running program was started with.
fn time_of(pid: i32) -> Option<String> {
    let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    last_word(&words).map(str::to_owned)
}

fn last_word(cmdline: &str) -> Option<&str> {
    cmdline.trim_end_matches('\0').rsplit('\0').next().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_last_word_of_the_program() {
        assert_eq!(last_word("xtask\0hold-back\0ms\0"), Some("ms"));
        assert_eq!(last_word(""), None);
    }
}
