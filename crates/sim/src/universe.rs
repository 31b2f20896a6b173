//! What is there besides the operator? Kubernetes, machines, PD, TiKV, a client and the clock.

use serde_json::Value;

use crate::clock::SECOND;
use crate::dice::Dice;
use crate::kube::{Kube, at, labels, name_of, text, uid_of};
use crate::names::Names;
use crate::node::{Nodes, Processes};
use crate::pd::{Answer, Pd, Request};
use crate::tikv::{Moment, Tikv, WRITE_EVERY};

/// The one namespace of the model.
pub const NAMESPACE: &str = "default";

/// Everything that is not the operator.
#[derive(Clone, Debug)]
pub struct Universe {
    /// Milliseconds since the beginning.
    pub now: u64,
    /// Chance.
    pub dice: Dice,
    /// The API server.
    pub kube: Kube,
    /// Machines.
    pub nodes: Nodes,
    /// PD.
    pub pd: Pd,
    /// TiKV.
    pub tikv: Tikv,
    names: Names,
    named_at: usize,
}

impl Universe {
    /// Three machines and nothing on them.
    pub fn new(seed: u64) -> Self {
        let nodes = Nodes::new(&["node-a", "node-b", "node-c"]);
        let mut kube = Kube::default();
        nodes.register(&mut kube);
        Self {
            now: 0,
            dice: Dice::new(seed),
            kube,
            nodes,
            pd: Pd::default(),
            tikv: Tikv::default(),
            names: Names::default(),
            named_at: usize::MAX,
        }
    }

    /// Lets a second pass.
    pub fn tick(&mut self) {
        self.now += SECOND;
        self.kube.set_time(self.now);
        let mut processes = Processes { pd: &mut self.pd, tikv: &mut self.tikv };
        self.nodes.tick(&mut self.kube, &mut processes, self.now, &mut self.dice);
        self.resolve_names();
        self.pd.tick(self.now, &self.names, &mut self.dice);
        let mut moment = Moment { now: self.now, names: &self.names, dice: &mut self.dice };
        self.tikv.tick(&mut self.pd, &mut moment);
        if self.now.is_multiple_of(WRITE_EVERY) {
            for ensemble in &mut self.pd.ensembles {
                self.tikv.write_everywhere(ensemble, self.now);
            }
        }
        for claim in self.kube.sweep() {
            if let Some(disk) = self.nodes.reclaim(&claim) {
                self.pd.wipe(disk);
                self.tikv.disks.remove(&disk);
            }
        }
    }

    /// DNS and Services as they are now.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The answer of a PD process to an HTTP request.
    pub fn ask_pd(&mut self, process: &str, request: Request<'_>) -> Option<Answer> {
        self.pd.answer(process, request, self.now, &self.names)
    }

    fn resolve_names(&mut self) {
        if self.named_at != self.kube.version() {
            self.named_at = self.kube.version();
            self.names = names_of(&self.kube);
        }
    }
}

/// The names that Services give to pods. Only pods that are ready, unless the Service publishes
/// others too.
fn names_of(kube: &Kube) -> Names {
    let mut names = Names::default();
    for service in kube.list("Service") {
        let Some(selector) = at(service, "/spec/selector").as_object() else { continue };
        let everyone = at(service, "/spec/publishNotReadyAddresses").as_bool() == Some(true);
        let headless = text(service, "/spec/clusterIP") == "None";
        let name = name_of(service);
        for pod in kube.list("Pod") {
            let selected = selector
                .iter()
                .all(|(key, value)| labels(pod).and_then(|labels| labels.get(key)) == Some(value));
            let has_address = !text(pod, "/spec/nodeName").is_empty();
            if !selected || !has_address || !(everyone || is_ready(pod)) {
                continue;
            }
            for host in
                [name.to_owned(), format!("{name}.{NAMESPACE}"), format!("{name}.{NAMESPACE}.svc")]
            {
                names.add(&host, uid_of(pod));
                if headless && text(pod, "/spec/subdomain") == name {
                    names.add(&format!("{}.{host}", text(pod, "/spec/hostname")), uid_of(pod));
                }
            }
        }
    }
    names
}

fn is_ready(pod: &Value) -> bool {
    let conditions = at(pod, "/status/conditions").as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| text(c, "/type") == "Ready" && text(c, "/status") == "True")
}
