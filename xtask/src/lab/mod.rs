//! A real Kubernetes of several nodes on this one machine: how is it had, used and broken?
//!
//! `cargo xtask lab up` builds it (see `docs/lab.md`), [`Lab`] is its interface for the other commands
//! of this program. Everything that a lab starts is in one cgroup and everything that it mounts or
//! routes is in namespaces that end with those processes, so `down` needs no memory of what was done.

mod cgroup;
pub(crate) mod command;
mod control;
mod delay;
mod down;
pub(crate) mod image;
mod loss;
mod machine;
mod network;
mod node;
mod pki;
mod preflight;
mod process;
mod selftest;
mod slow;
mod state;
mod status;
mod sysctl;
mod topology;
mod up;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::tools::{Binaries, shell};
use cgroup::Trees;
use control::Control;
use image::{Archive, Image};
use node::Node;
use process::Processes;
use state::State;
use topology::{Layout, Machine};

/// The number of nodes when nobody says another.
pub(crate) const DEFAULT_NODES: u8 = 3;

/// So long a file system may have files that are open for writing before it is given up.
const BUSY: Duration = Duration::from_secs(10);

/// A lab of this machine.
#[derive(Debug)]
pub(crate) struct Lab {
    layout: Layout,
    trees: Trees,
    processes: Processes,
    binaries: Binaries,
    nodes: u8,
}

impl Lab {
    /// The context in its kubeconfig.
    pub(crate) const CONTEXT: &str = "tikv-operator-lab";

    /// Starts a lab, or repairs and keeps the one that runs. Without a number the running one keeps
    /// its size.
    pub(crate) fn up(nodes: Option<u8>) -> Result<Self> {
        up::up(nodes)
    }

    /// The lab that runs; an error says how to get one.
    pub(crate) fn open() -> Result<Self> {
        preflight::may_run()?;
        let layout = Layout::of_this_machine();
        match State::read(&layout) {
            Some(state) if state.complete && state.boot == state::boot() => {
                // Those that it runs, even if the pins have changed since.
                let binaries = Binaries::of_paths(state.programs.iter().map(PathBuf::from));
                Self::with_binaries(layout, state.nodes, binaries)
            }
            Some(_) | None => bail!("there is no lab; start one with `cargo xtask lab up`"),
        }
    }

    fn with_binaries(layout: Layout, nodes: u8, binaries: Binaries) -> Result<Self> {
        let trees = Trees::of_this_machine()?;
        let processes = Processes::new(layout.clone(), trees.clone());
        Ok(Self { layout, trees, processes, binaries, nodes })
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// The API server's audit log: one JSON object per request, level Metadata.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.layout.audit_log()
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl(&self) -> Result<Command> {
        self.control().kubectl()
    }

    /// Makes an image known to every node; nodes that have the same content already are left alone.
    pub(crate) fn load_image(&self, image: &Image) -> Result<()> {
        self.load_archive(&image.archive()?)
    }

    /// As [`Lab::load_image`], for an archive.
    pub(crate) fn load_archive(&self, archive: &Archive) -> Result<()> {
        let mut nodes = Machine::nodes(self.nodes);
        nodes.retain(|machine| {
            let known = fs::read_to_string(self.record_of_image(machine, archive));
            archive.name.is_empty() || !known.is_ok_and(|id| id == archive.id)
        });
        if nodes.is_empty() {
            return Ok(());
        }
        let file = self.layout.data().join(format!("{}.tar", archive.id));
        fs::write(&file, &archive.bytes)?;
        let loaded = std::thread::scope(|scope| {
            let load = |machine| {
                let file = &file;
                scope.spawn(move || self.load_into(machine, archive, file))
            };
            let loads: Vec<_> = nodes.iter().map(load).collect();
            loads.into_iter().try_for_each(|load| match load.join() {
                Ok(result) => result,
                Err(_) => bail!("loading an image ended early"),
            })
        });
        fs::remove_file(&file)?;
        loaded
    }

    fn load_into(&self, machine: &Machine, archive: &Archive, file: &Path) -> Result<()> {
        shell::output(self.node(machine).ctr()?.args(["images", "import"]).arg(file))
            .with_context(|| format!("cannot load {} into {}", archive.name, machine.name))?;
        let record = self.record_of_image(machine, archive);
        fs::create_dir_all(self.layout.machine_data(machine).join("images"))?;
        state::write_atomically(&record, archive.id.as_bytes())
    }

    /// Gives an image that every node has a second name there. Both are full names with registry
    /// and tag.
    pub(crate) fn tag_image(&self, image: &str, name: &str) -> Result<()> {
        for machine in &Machine::nodes(self.nodes) {
            let mut ctr = self.node(machine).ctr()?;
            shell::output(ctr.args(["images", "tag", "--force", image, name]))
                .with_context(|| format!("cannot name {image} {name} on {}", machine.name))?;
        }
        Ok(())
    }

    /// The file that says which content a node has under the image's name.
    fn record_of_image(&self, machine: &Machine, archive: &Archive) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = archive.name.chars().map(plain).collect();
        self.layout.machine_data(machine).join("images").join(name)
    }

    /// Stops a node with all its pods where they stand, or lets it run on. Its cable stays in: peers
    /// see connections that hang, not ones that break.
    pub(crate) fn freeze(&self, node: &str, frozen: bool) -> Result<()> {
        self.trees.freeze(&Machine::node(node, self.nodes)?.cgroup(), frozen)
    }

    /// Stops one program of the control plane's machine where it stands, or lets it run on. The
    /// others and the network stay.
    pub(crate) fn freeze_service(&self, name: &str, frozen: bool) -> Result<()> {
        let service = self.processes.running(&Machine::control(), name);
        let service = service.with_context(|| format!("{name} does not run"))?;
        process::signal(&service, if frozen { Signal::STOP } else { Signal::CONT })
    }

    /// Loses packets between pods from now on.
    pub(crate) fn lose(&self, node: &str, loss: &loss::Loss) -> Result<()> {
        loss::begin(&self.processes, &Machine::node(node, self.nodes)?, loss)
    }

    /// Holds back packets between pods from now on.
    pub(crate) fn delay(&self, node: &str, delay: &delay::Lateness) -> Result<()> {
        delay::begin(&self.processes, &Machine::node(node, self.nodes)?, delay)
    }

    /// Loses none and holds back none any more; how many were late.
    pub(crate) fn deliver(&self, node: &str) -> Result<u64> {
        let machine = Machine::node(node, self.nodes)?;
        loss::end(&self.processes, &machine)?;
        delay::end(&self.processes, &machine)
    }

    /// Lets the file system of a volume of the class `sized` take no writes, or take them again. Who
    /// has a file open for writing keeps it writable, so that is tried for a while.
    pub(crate) fn read_only(&self, node: &str, path: &Path, on: bool) -> Result<()> {
        let machine = Machine::node(node, self.nodes)?;
        if !path.starts_with(self.layout.machine_data(&machine)) {
            bail!("{} is no volume of {}", path.display(), machine.name);
        }
        let option = if on { "remount,ro" } else { "remount,rw" };
        let begin = Instant::now();
        loop {
            let mut mount = self.processes.command(&machine, "mount")?;
            match shell::output(mount.args(["-o", option]).arg(path)) {
                Ok(_) => return Ok(()),
                Err(e) if begin.elapsed() > BUSY => return Err(e),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Takes a node's network cable out, or puts it back.
    pub(crate) fn cut(&self, node: &str, cut: bool) -> Result<()> {
        network::set_link(&self.processes, &Machine::node(node, self.nodes)?, !cut)
    }

    /// Ends a node as a power cut does: kubelet, runtime and pods at once. Its disk stays.
    pub(crate) fn power_off(&self, node: &str) -> Result<()> {
        let machine = Machine::node(node, self.nodes)?;
        self.cut(node, true)?;
        self.trees.freeze(&machine.cgroup(), false)?;
        let holder = self.processes.running(&machine, process::HOLDER);
        process::end_group(&self.trees, &machine.cgroup(), holder.as_ref())
    }

    /// Starts a node after [`Lab::power_off`]; its pods start anew.
    pub(crate) fn power_on(&self, node: &str) -> Result<()> {
        let machine = Machine::node(node, self.nodes)?;
        self.cut(node, false)?;
        self.node(&machine).start_containerd()?;
        self.node(&machine).start_kubelet()
    }

    /// Sends a signal to the process of a container, named by namespace, pod and container.
    pub(crate) fn kill(&self, signal: &str, node: &str, named: &[&String; 3]) -> Result<()> {
        let machine = Machine::node(node, self.nodes)?;
        let (id, _) = self.task(&machine, named)?;
        let mut ctr = self.node(&machine).ctr()?;
        shell::output(ctr.args(["tasks", "kill", "--signal", signal, &id])).map(drop)
    }

    /// Slows down what a container writes to a volume, or ends that.
    pub(crate) fn slow(&self, node: &str, slow: &slow::SlowDisk) -> Result<()> {
        let (_, pid) = self.task(&Machine::node(node, self.nodes)?, &slow.named())?;
        slow.apply(&self.trees, pid)
    }

    /// The running container's id, and its first process.
    fn task(&self, machine: &Machine, named: &[&String; 3]) -> Result<(String, i32)> {
        let node = self.node(machine);
        let labels = ["io.kubernetes.pod.namespace", "io.kubernetes.pod.name"];
        let labels = labels.into_iter().chain(["io.kubernetes.container.name"]);
        let rules: Vec<String> = labels
            .zip(named)
            .map(|(label, value)| format!("labels.\"{label}\"=={value}"))
            .collect();
        let mut list = node.ctr()?;
        let listed = shell::output(list.args(["containers", "list", "-q", &rules.join(",")]))?;
        // Ended containers of the same name are listed too; they have no task.
        let tasks = shell::output(node.ctr()?.args(["tasks", "list"]))?;
        let running = tasks.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let (id, pid) = (words.next()?, words.next()?.parse().ok()?);
            listed.lines().any(|listed| listed == id).then(|| (id.to_owned(), pid))
        });
        running.with_context(|| format!("no such container runs on {}: {named:?}", machine.name))
    }

    fn control(&self) -> Control<'_> {
        Control { layout: &self.layout, processes: &self.processes, binaries: &self.binaries }
    }

    fn node<'a>(&'a self, machine: &'a Machine) -> Node<'a> {
        Node { layout: &self.layout, processes: &self.processes, binaries: &self.binaries, machine }
    }
}
