//! Which programs are built, from which module, at which version and how?

use anyhow::{Context as _, Result};

/// One program of the Go module proxy: built and cached as a unit.
#[derive(Debug)]
pub(crate) struct Program {
    /// Name in the cache and in progress lines.
    pub(crate) name: &'static str,
    /// Version as its own project writes it; `go.mod` is what pins it (a test compares the two).
    pub(crate) version: &'static str,
    /// Directory below `xtask/tools` that holds its `go.mod` and `go.sum`.
    pub(crate) module: &'static str,
    /// What is built.
    pub(crate) binaries: &'static [Binary],
    /// Whether C is compiled and linked in.
    pub(crate) cgo: bool,
    /// Go build tags, separated by commas.
    pub(crate) tags: &'static str,
    /// Linker flags beyond `-s -w`.
    pub(crate) ldflags: &'static str,
}

/// One executable of a program.
#[derive(Debug)]
pub(crate) struct Binary {
    /// File name.
    pub(crate) name: &'static str,
    /// Go package; `.` is a main of this project.
    pub(crate) package: &'static str,
}

/// Without these `kubectl version` and the kubelet's report to the API server read v0.0.0.
const KUBERNETES_VERSION: &str = "-X k8s.io/component-base/version.gitVersion=v1.37.2 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37";

const fn kubernetes(name: &'static str, binaries: &'static [Binary]) -> Program {
    Program {
        name,
        version: "1.37.2",
        module: "kubernetes",
        binaries,
        cgo: false,
        tags: "",
        ldflags: KUBERNETES_VERSION,
    }
}

const fn of_this_project(name: &'static str, binaries: &'static [Binary]) -> Program {
    Program { name, version: "1", module: name, binaries, cgo: false, tags: "", ldflags: "" }
}

/// Every program, in the order in which they are built: what the API server tests need comes first.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "etcd",
        version: "3.7.3",
        module: "etcd",
        binaries: &[Binary { name: "etcd", package: "go.etcd.io/etcd/server/v3" }],
        cgo: false,
        tags: "",
        ldflags: "",
    },
    kubernetes(
        "kube-apiserver",
        &[Binary { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" }],
    ),
    kubernetes("kubectl", &[Binary { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" }]),
    kubernetes(
        "kube-controller-manager",
        &[Binary {
            name: "kube-controller-manager",
            package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        }],
    ),
    kubernetes(
        "kube-scheduler",
        &[Binary { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler" }],
    ),
    kubernetes("kubelet", &[Binary { name: "kubelet", package: "k8s.io/kubernetes/cmd/kubelet" }]),
    kubernetes(
        "kube-proxy",
        &[Binary { name: "kube-proxy", package: "k8s.io/kubernetes/cmd/kube-proxy" }],
    ),
    Program {
        name: "containerd",
        version: "2.4.2",
        module: "containerd",
        binaries: &[
            Binary {
                name: "containerd",
                package: "github.com/containerd/containerd/v2/cmd/containerd",
            },
            Binary {
                name: "containerd-shim-runc-v2",
                package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            },
            Binary { name: "ctr", package: "github.com/containerd/containerd/v2/cmd/ctr" },
        ],
        cgo: false,
        // Snapshotters that need C libraries or other disks; the lab uses overlayfs.
        tags: "no_btrfs,no_devmapper,no_zfs",
        ldflags: "-X github.com/containerd/containerd/v2/version.Version=v2.4.2",
    },
    Program {
        name: "runc",
        version: "1.5.2",
        module: "runc",
        binaries: &[Binary { name: "runc", package: "github.com/opencontainers/runc" }],
        cgo: true,
        // Without it every pod of a restricted namespace fails with "seccomp not supported".
        tags: "seccomp",
        ldflags: "",
    },
    Program {
        name: "cni-plugins",
        version: "1.9.1",
        module: "cni-plugins",
        binaries: &[
            Binary {
                name: "bridge",
                package: "github.com/containernetworking/plugins/plugins/main/bridge",
            },
            Binary {
                name: "loopback",
                package: "github.com/containernetworking/plugins/plugins/main/loopback",
            },
            Binary {
                name: "host-local",
                package: "github.com/containernetworking/plugins/plugins/ipam/host-local",
            },
            Binary {
                name: "portmap",
                package: "github.com/containernetworking/plugins/plugins/meta/portmap",
            },
        ],
        cgo: false,
        tags: "",
        ldflags: "",
    },
    Program {
        name: "coredns",
        version: "1.15.0",
        module: "coredns",
        binaries: &[Binary { name: "coredns", package: "." }],
        cgo: false,
        tags: "",
        ldflags: "",
    },
    of_this_project("local-volumes", &[Binary { name: "local-volumes", package: "." }]),
    of_this_project("pause", &[Binary { name: "pause", package: "." }]),
];

/// The program that a binary belongs to.
pub(crate) fn program_of(binary: &str) -> Result<&'static Program> {
    PROGRAMS
        .iter()
        .find(|program| program.binaries.iter().any(|b| b.name == binary))
        .with_context(|| format!("no program {binary} is pinned in xtask/tools"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_names_the_version_that_go_mod_pins() {
        for program in PROGRAMS {
            let path = crate::tools::module_dir(program.module).unwrap().join("go.mod");
            let pins = std::fs::read_to_string(&path).unwrap();
            for binary in program.binaries {
                if binary.package == "." && program.name != "coredns" {
                    continue;
                }
                let package = if binary.package == "." {
                    "github.com/coredns/coredns"
                } else {
                    binary.package
                };
                let pinned = pins
                    .lines()
                    .filter_map(|line| {
                        let mut words = line.trim().trim_start_matches("require ").split(' ');
                        Some((words.next()?, words.next()?))
                    })
                    .find(|(module, version)| {
                        package.starts_with(module) && version.starts_with('v')
                    });
                let (_, version) = pinned.unwrap_or_else(|| panic!("{package} is not pinned"));
                assert_eq!(version, format!("v{}", program.version), "{}", path.display());
            }
        }
    }

    #[test]
    fn a_binary_belongs_to_one_program() {
        let mut names: Vec<&str> =
            PROGRAMS.iter().flat_map(|p| p.binaries.iter().map(|b| b.name)).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(program_of("ctr").unwrap().name, "containerd");
        assert!(program_of("docker").is_err());
    }
}
