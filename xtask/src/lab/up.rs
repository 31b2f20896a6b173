//! In which order does a lab come to life?

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::process::HOLDER;
use super::state::{self, Lock, State};
use super::topology::{Layout, MOST_NODES, Machine};
use super::{
    DEFAULT_NODES, Lab, control, delay, down, image, loss, machine, network, pki, preflight, sysctl,
};
use crate::tools::{self, debian, shell};

/// See [`Lab::up`].
pub(super) fn up(nodes: Option<u8>) -> Result<Lab> {
    preflight::may_run()?;
    if nodes.is_some_and(|count| count == 0 || count > MOST_NODES) {
        bail!("a lab has 1 to {MOST_NODES} nodes");
    }
    debian::ensure(debian::FOR_LAB)?;
    let layout = Layout::of_this_machine();
    let found = State::read(&layout);
    let count = nodes.or_else(|| found.as_ref().map(|state| state.nodes)).unwrap_or(DEFAULT_NODES);
    let lab = Lab::with_binaries(layout, count, tools::ensure_all()?)?;
    let _lock = Lock::take()?;
    if let Some(state) = found {
        if may_keep(&lab, &state) {
            return repair(lab);
        }
        eprintln!("taking down what is left of an earlier lab");
        down::take_down(&lab.layout)?;
    } else if !down::leftovers(&lab.layout)?.is_empty() {
        eprintln!("taking down what is left of an interrupted lab");
        down::take_down(&lab.layout)?;
    }
    preflight::check(&lab.layout)?;
    create(&lab)?;
    Ok(lab)
}

/// A lab is kept if it was finished, is what is asked for, and none of its machines has ended.
fn may_keep(lab: &Lab, state: &State) -> bool {
    *state == wanted_state(lab, true)
        && Machine::all(lab.nodes)
            .iter()
            .all(|machine| lab.processes.running(machine, HOLDER).is_some())
}

fn wanted_state(lab: &Lab, complete: bool) -> State {
    let programs =
        lab.binaries.iter().map(|(_, path)| path.display().to_string()).collect::<Vec<_>>();
    State { nodes: lab.nodes, complete, boot: state::boot(), programs }
}

/// Prints how long each phase took.
struct Phases {
    begin: Instant,
    last: Instant,
}

impl Phases {
    fn start() -> Self {
        let now = Instant::now();
        Self { begin: now, last: now }
    }

    fn done(&mut self, what: &str) {
        let now = Instant::now();
        let step = now.duration_since(self.last).as_secs_f32();
        eprintln!(
            "{step:6.1} s  {what}  (at {:.1} s)",
            now.duration_since(self.begin).as_secs_f32()
        );
        self.last = now;
    }
}

fn create(lab: &Lab) -> Result<()> {
    let mut phases = Phases::start();
    for dir in [lab.layout.run().to_path_buf(), lab.layout.logs(), lab.layout.data().to_path_buf()]
    {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    wanted_state(lab, false).write(&lab.layout)?;
    sysctl::save_and_raise(&lab.layout)?;
    let all = Machine::all(lab.nodes);
    let nodes = Machine::nodes(lab.nodes);
    pki::create(&lab.layout, &nodes)?;
    phases.done("certificates");
    for machine in &all {
        machine::start(&lab.layout, &lab.trees, &lab.processes, machine)?;
    }
    network::join(&lab.processes, &all)?;
    phases.done("machines and their network");
    lab.control().start_api_server()?;
    for machine in &nodes {
        lab.node(machine).start_containerd()?;
    }
    lab.load_image(&image::pause(&lab.binaries)?)?;
    lab.load_image(&image::busybox()?)?;
    phases.done("container runtimes with their images");
    lab.control().wait_for_api_server()?;
    phases.done("API server");
    for machine in &nodes {
        lab.node(machine).start_kubelet()?;
    }
    lab.control().start_rest()?;
    phases.done("controllers, DNS, volumes");
    wait_until_ready(lab)?;
    phases.done(&format!("{} nodes ready", lab.nodes));
    wanted_state(lab, true).write(&lab.layout)
}

/// Starts what ended, and undoes faults.
fn repair(lab: Lab) -> Result<Lab> {
    let begin = Instant::now();
    let mut repaired = Vec::new();
    for machine in &Machine::nodes(lab.nodes) {
        if lab.trees.is_frozen(&machine.cgroup()) {
            lab.trees.freeze(&machine.cgroup(), false)?;
            repaired.push(format!("{} was frozen", machine.name));
        }
        if !network::link_is_up(&lab.processes, machine)? {
            network::set_link(&lab.processes, machine, true)?;
            repaired.push(format!("{} was cut off", machine.name));
        }
    }
    for (machine, service) in super::status::ended(&lab) {
        repaired.push(format!("{service} of {} had ended", machine.name));
    }
    for machine in &Machine::nodes(lab.nodes) {
        if loss::end(&lab.processes, machine)? {
            repaired.push(format!("{} lost packets", machine.name));
        }
        if delay::end(&lab.processes, machine)? > 0 {
            repaired.push(format!("{} held back packets", machine.name));
        }
    }
    lab.control().start_api_server()?;
    lab.freeze_service(control::API_SERVER, false)?;
    lab.control().wait_for_api_server()?;
    lab.control().start_rest()?;
    lab.freeze_service(control::DNS, false)?;
    for machine in &Machine::nodes(lab.nodes) {
        lab.node(machine).start_containerd()?;
        lab.node(machine).start_kubelet()?;
    }
    wait_until_ready(&lab)?;
    for line in &repaired {
        eprintln!("repaired: {line}");
    }
    eprintln!("the lab is up ({:.1} s)", begin.elapsed().as_secs_f32());
    Ok(lab)
}

fn wait_until_ready(lab: &Lab) -> Result<()> {
    let begin = Instant::now();
    loop {
        let nodes = shell::output(lab.kubectl()?.args(["get", "nodes", "--no-headers"]))?;
        let ready = nodes.lines().filter(|line| line.split_whitespace().nth(1) == Some("Ready"));
        if ready.count() == usize::from(lab.nodes) {
            break;
        }
        if begin.elapsed() > Duration::from_mins(2) {
            bail!(
                "not all nodes are ready after 120 s; see {}\n{nodes}",
                lab.layout.logs().display()
            );
        }
        if let Some((machine, service)) = super::status::ended(lab).into_iter().next() {
            let log = lab.layout.logs().join(format!("{}-{service}.log", machine.name));
            bail!("{service} of {} ended; see {}", machine.name, log.display());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    // Cluster DNS and pods' accounts are what the first pod needs.
    let mut ask = lab.processes.command(&Machine::control(), "sh")?;
    let script = "for i in $(seq 300); do \
         busybox wget -q -O /dev/null http://10.90.0.1:8181/ready && exit 0; sleep 0.1; done; exit 1";
    shell::output(ask.args(["-c", script])).context("cluster DNS is not ready")?;
    Ok(())
}
