//! What runs on a node, and with which settings?

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::image::PAUSE;
use super::pki::kubeconfig_of;
use super::process::{Processes, Service};
use super::state::write_atomically;
use super::topology::{CLUSTER_DOMAIN, CONTROL_ADDRESS, Layout, Machine, POD_RANGE};
use crate::tools::{Binaries, shell};

/// Names of a node's programs, in the order of their start.
pub(crate) const SERVICES: &[&str] = &["containerd", "kubelet", "kube-proxy"];

/// What the functions below need of a lab, and which node is meant.
pub(crate) struct Node<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) processes: &'a Processes,
    pub(crate) binaries: &'a Binaries,
    pub(crate) machine: &'a Machine,
}

impl Node<'_> {
    /// Starts the container runtime and waits until it answers.
    pub(crate) fn start_containerd(&self) -> Result<()> {
        let run = self.run_dir();
        fs::create_dir_all(run.join("cni"))?;
        write_atomically(
            &run.join("cni/10-lab.conflist"),
            &serde_json::to_vec_pretty(&self.cni())?,
        )?;
        let config = run.join("containerd.toml");
        write_atomically(&config, self.containerd_config()?.as_bytes())?;
        let mut service = Service::new("containerd", self.binaries.path("containerd")?)
            .args(["--config".into(), config]);
        // containerd finds its shim by PATH, and runc the tools of the machine.
        let mut path = self
            .binaries
            .path("containerd")?
            .parent()
            .map_or_else(|| std::ffi::OsString::from("."), |dir| dir.as_os_str().to_owned());
        path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        service.environment.push(("PATH", path));
        self.processes.start(self.machine, service)?;
        let begin = Instant::now();
        while shell::output(self.ctr()?.arg("version")).is_err() {
            if begin.elapsed() > Duration::from_secs(30) {
                let log = self.layout.logs().join(format!("{}-containerd.log", self.machine.name));
                bail!("containerd of {} does not answer; see {}", self.machine.name, log.display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Starts the kubelet and the Service proxy, without waiting for them.
    pub(crate) fn start_kubelet(&self) -> Result<()> {
        let run = self.run_dir();
        write_atomically(&run.join("resolv.conf"), b"")?;
        let config = run.join("kubelet.json");
        write_atomically(&config, &serde_json::to_vec_pretty(&self.kubelet_config())?)?;
        let user = kubeconfig_of(self.layout, &format!("{}-client", self.machine.name));
        let kubelet = Service::new("kubelet", self.binaries.path("kubelet")?)
            .arg(format!("--config={}", config.display()))
            .arg(format!("--kubeconfig={}", user.display()))
            .arg(format!("--hostname-override={}", self.machine.name))
            .arg(format!("--node-ip={}", self.machine.address()))
            .arg(format!("--root-dir={}", self.data_dir().join("kubelet").display()))
            .arg(format!("--cert-dir={}", run.join("kubelet-certificates").display()))
            .arg(format!("--node-labels=topology.kubernetes.io/zone={}", self.machine.zone()));
        self.processes.start(self.machine, kubelet)?;
        let proxy = run.join("kube-proxy.json");
        write_atomically(&proxy, &serde_json::to_vec_pretty(&self.proxy_config())?)?;
        self.processes.start(
            self.machine,
            Service::new("kube-proxy", self.binaries.path("kube-proxy")?)
                .arg(format!("--config={}", proxy.display())),
        )
    }

    /// The runtime's own client, in the namespace that Kubernetes uses.
    pub(crate) fn ctr(&self) -> Result<std::process::Command> {
        // Mounts for unpacking must be made where containerd sees them.
        let ctr = self.binaries.path("ctr")?.display().to_string();
        let mut command = self.processes.command(self.machine, &ctr)?;
        command.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]);
        Ok(command)
    }

    fn run_dir(&self) -> PathBuf {
        self.layout.machine_run(self.machine)
    }

    fn data_dir(&self) -> PathBuf {
        self.layout.machine_data(self.machine)
    }

    fn socket(&self) -> PathBuf {
        self.run_dir().join("containerd.sock")
    }

    fn containerd_config(&self) -> Result<String> {
        let plugins = self.binaries.path("bridge")?.parent().map(std::path::Path::to_path_buf);
        Ok(format!(
            r#"version = 3
root = "{data}/containerd"
state = "{run}/containerd"
# Device mapper, btrfs and zfs are not built in; traces go nowhere.
disabled_plugins = ["io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "{socket}"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{plugins}"]
conf_dir = "{run}/cni"
use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.internal.v1.opt']
path = "{data}/opt"
"#,
            data = self.data_dir().display(),
            run = self.run_dir().display(),
            socket = self.socket().display(),
            plugins = plugins.unwrap_or_default().display(),
            runc = self.binaries.path("runc")?.display(),
        ))
    }

    fn cni(&self) -> serde_json::Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "lab",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": true,
                    // Pods are reached and seen by their own addresses everywhere.
                    "ipMasq": false,
                    // A pod may be the answer to its own call of a Service.
                    "hairpinMode": true,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": self.machine.pod_range()}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": self.run_dir().join("addresses"),
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        })
    }

    fn kubelet_config(&self) -> serde_json::Value {
        let pki = |file: String| self.layout.pki().join(file);
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": format!("unix://{}", self.socket().display()),
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": pki("ca.crt".to_owned())},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": pki(format!("{}.crt", self.machine.name)),
            "tlsPrivateKeyFile": pki(format!("{}.key", self.machine.name)),
            "address": self.machine.address(),
            "clusterDNS": [CONTROL_ADDRESS],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": self.run_dir().join("resolv.conf"),
            "podLogsDir": self.run_dir().join("pod-logs"),
            "volumePluginDir": self.run_dir().join("volume-plugins"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.machine.pods_cgroup()),
            "enforceNodeAllocatable": [],
            "failCgroupV1": false,
            "failSwapOn": false,
            // All nodes share this machine's disk and memory: its shortage is not a node's.
            "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "serializeImagePulls": false,
            "nodeStatusUpdateFrequency": "5s",
            // The lease is renewed at a quarter of this.
            "nodeLeaseDurationSeconds": 20,
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
            "eventRecordQPS": 0,
            "maxPods": 110,
        })
    }

    fn proxy_config(&self) -> serde_json::Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": kubeconfig_of(self.layout, "proxy")},
            "hostnameOverride": self.machine.name,
            "mode": "iptables",
            "clusterCIDR": POD_RANGE,
            "detectLocalMode": "ClusterCIDR",
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            // These are settings of the whole machine and cannot be written from here.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        })
    }
}
