//! What runs on the control plane's machine, and with which settings?

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::pki::kubeconfig_of;
use super::process::{Processes, Service};
use super::topology::{CLUSTER_DOMAIN, CONTROL_ADDRESS, Layout, Machine, POD_RANGE, SERVICE_RANGE};
use crate::tools::{Binaries, shell};

/// Name of the program that answers for all objects.
pub(crate) const API_SERVER: &str = "kube-apiserver";

/// Name of the program that answers for all names of Services and pods.
pub(crate) const DNS: &str = "coredns";

/// What of it can be frozen alone: the fault's name for it, and the program.
pub(crate) const FREEZABLE: [(&str, &str); 2] = [("api-server", API_SERVER), ("dns", DNS)];

/// Names of the control plane's programs, in the order of their start.
pub(crate) const SERVICES: &[&str] =
    &["etcd", API_SERVER, "kube-controller-manager", "kube-scheduler", DNS, "local-volumes"];

/// Every request once, when it is answered, with user, verb and object; no bodies. Health checks and
/// the lab's own components would only make the file grow.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi/*"]},
    {"level": "Metadata"}
  ]
}"#;

/// Objects that every lab has.
const MANIFESTS: &str = include_str!("manifests/base.yaml");

/// What the functions below need of a lab.
pub(crate) struct Control<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) processes: &'a Processes,
    pub(crate) binaries: &'a Binaries,
}

impl Control<'_> {
    /// Starts etcd and the API server, without waiting for them.
    pub(crate) fn start_api_server(&self) -> Result<()> {
        self.run(self.etcd()?)?;
        let policy = self.layout.run().join("audit-policy.json");
        super::state::write_atomically(&policy, AUDIT_POLICY.as_bytes())?;
        self.run(self.api_server(&policy)?)
    }

    /// Waits until the API server says that it is ready.
    pub(crate) fn wait_for_api_server(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let said = shell::output(self.kubectl()?.args(["get", "--raw", "/readyz"]));
            match said {
                Ok(_) => return Ok(()),
                Err(error) if begin.elapsed() > Duration::from_secs(90) => {
                    bail!("the API server is not ready after 90 s: {error}")
                }
                Err(_) => {}
            }
            for name in ["etcd", API_SERVER] {
                if self.processes.running(&Machine::control(), name).is_none() {
                    let log = self.layout.logs().join(format!("control-{name}.log"));
                    bail!("{name} ended; see {}", log.display());
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts what needs the API server, and applies the lab's objects.
    pub(crate) fn start_rest(&self) -> Result<()> {
        self.run(self.controller_manager()?)?;
        self.run(self.scheduler()?)?;
        shell::output_with_input(
            self.kubectl()?.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]),
            MANIFESTS,
        )?;
        self.run(self.coredns()?)?;
        self.run(
            Service::new("local-volumes", self.binaries.path("local-volumes")?)
                .args(["--kubeconfig".into(), kubeconfig_of(self.layout, "local-volumes")])
                .args(["--root".into(), self.layout.data().to_path_buf()])
                .args(["--run".into(), self.layout.run().to_path_buf()]),
        )
    }

    /// The administrator's kubectl.
    pub(crate) fn kubectl(&self) -> Result<Command> {
        let mut command = Command::new(self.binaries.path("kubectl")?);
        command.arg("--kubeconfig").arg(self.layout.kubeconfig());
        Ok(command)
    }

    fn run(&self, service: Service) -> Result<()> {
        self.processes.start(&Machine::control(), service)
    }

    fn pki(&self, name: &str) -> String {
        self.layout.pki().join(name).display().to_string()
    }

    fn etcd(&self) -> Result<Service> {
        let data = self.layout.machine_data(&Machine::control()).join("etcd");
        Ok(Service::new("etcd", self.binaries.path("etcd")?)
            .arg(format!("--data-dir={}", data.display()))
            .args([
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
            ])
            .args(["--listen-peer-urls=http://127.0.0.1:2380", "--log-level=warn"])
            // The lab's data dies with it; without the waits for the disk everything is quicker.
            .arg("--unsafe-no-fsync"))
    }

    fn api_server(&self, policy: &Path) -> Result<Service> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.pki(name));
        Ok(Service::new(API_SERVER, self.binaries.path(API_SERVER)?)
            .args(["--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443"])
            .arg(format!("--bind-address={CONTROL_ADDRESS}"))
            .arg(format!("--advertise-address={CONTROL_ADDRESS}"))
            .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
            .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"])
            .args(["--allow-privileged=true", "--profiling=false"])
            .arg(format!(
                "--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}"
            ))
            .arg(file("service-account-key-file", "service-accounts.key"))
            .arg(file("service-account-signing-key-file", "service-accounts.key"))
            .arg(file("client-ca-file", "ca.crt"))
            .arg(file("tls-cert-file", "apiserver.crt"))
            .arg(file("tls-private-key-file", "apiserver.key"))
            .arg(file("kubelet-certificate-authority", "ca.crt"))
            .arg(file("kubelet-client-certificate", "apiserver-kubelet.crt"))
            .arg(file("kubelet-client-key", "apiserver-kubelet.key"))
            // Node names are in no DNS; without this `exec` and `logs` try to resolve them.
            .arg("--kubelet-preferred-address-types=InternalIP")
            .arg(format!("--audit-policy-file={}", policy.display()))
            .arg(format!("--audit-log-path={}", self.layout.audit_log().display()))
            // Far above what a run writes: a rotated file would hide requests from those who count.
            .arg("--audit-log-maxsize=4096"))
    }

    fn controller_manager(&self) -> Result<Service> {
        let config = kubeconfig_of(self.layout, "controller-manager");
        Ok(Service::new("kube-controller-manager", self.binaries.path("kube-controller-manager")?)
            .arg(format!("--kubeconfig={}", config.display()))
            .args(["--leader-elect=false", "--use-service-account-credentials=true"])
            .arg(format!("--service-account-private-key-file={}", self.pki("service-accounts.key")))
            .arg(format!("--root-ca-file={}", self.pki("ca.crt")))
            .arg(format!("--cluster-cidr={POD_RANGE}"))
            // Six pods with six claims at once are normal here and must not wait for each other.
            .args(["--kube-api-qps=300", "--kube-api-burst=600", "--profiling=false"])
            // Kubelets renew their leases every 5 s (see node.rs): a lost node is known after 20 s.
            .arg("--node-monitor-grace-period=20s"))
    }

    fn scheduler(&self) -> Result<Service> {
        let config = serde_json::json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": false},
            "clientConnection": {
                "kubeconfig": kubeconfig_of(self.layout, "scheduler"),
                "qps": 300,
                "burst": 600,
            },
        });
        let path = self.layout.run().join("scheduler.json");
        super::state::write_atomically(&path, &serde_json::to_vec_pretty(&config)?)?;
        Ok(Service::new("kube-scheduler", self.binaries.path("kube-scheduler")?)
            .arg(format!("--config={}", path.display())))
    }

    /// No cache: answers come from memory, and a pod that waits for a name must see it at once.
    fn coredns(&self) -> Result<Service> {
        let config = kubeconfig_of(self.layout, "coredns");
        let corefile = self.layout.run().join("Corefile");
        let text = format!(
            ".:53 {{\n  bind {CONTROL_ADDRESS}\n  ready {CONTROL_ADDRESS}:8181\n  errors\n  \
             kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{\n    kubeconfig {}\n    pods insecure\n    ttl 1\n  }}\n}}\n",
            config.display()
        );
        super::state::write_atomically(&corefile, text.as_bytes())?;
        Ok(Service::new(DNS, self.binaries.path(DNS)?).args(["-conf".into(), corefile]))
    }
}
