//! Which permissions does the operator need, and why?
//!
//! The one table behind the RBAC manifests. A test against a real API server runs the operator with
//! exactly these.

use std::fmt::Write as _;

/// A permission and its reason.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Resources, with subresources.
    pub resources: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// Why.
    pub reason: &'static str,
}

/// What the operator needs wherever it looks after clusters.
pub const GRANTS: &[Grant] = &[
    Grant {
        group: "tikv.org",
        resources: &["tikvclusters"],
        verbs: &["get", "list", "watch", "patch"],
        reason: "watch the resources, read one before acting, set the finalizer",
    },
    Grant {
        group: "tikv.org",
        resources: &["tikvclusters/status"],
        verbs: &["patch"],
        reason: "report",
    },
    Grant {
        // Where the admission plugin OwnerReferencesPermissionEnforcement is on.
        group: "tikv.org",
        resources: &["tikvclusters/finalizers"],
        verbs: &["update"],
        reason: "own pods and furniture with blockOwnerDeletion",
    },
    Grant {
        group: "",
        resources: &["services", "configmaps", "persistentvolumeclaims", "pods"],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        reason: "what a cluster is made of",
    },
    Grant {
        group: "",
        resources: &["pods/status"],
        verbs: &["patch"],
        reason: "set the readiness gate of stores",
    },
    Grant {
        group: "tikv.org",
        resources: &["tikvtasks"],
        verbs: &["get", "list", "watch"],
        reason: "watch the tasks, read one before acting, and those that gate an upgrade",
    },
    Grant {
        group: "tikv.org",
        resources: &["tikvtasks/status"],
        verbs: &["patch"],
        reason: "persist what a task has seen, report",
    },
    Grant {
        // Where the admission plugin OwnerReferencesPermissionEnforcement is on.
        group: "tikv.org",
        resources: &["tikvtasks/finalizers"],
        verbs: &["update"],
        reason: "own Jobs with blockOwnerDeletion",
    },
    Grant {
        group: "batch",
        resources: &["jobs"],
        verbs: &["get", "list", "watch", "create", "delete"],
        reason: "Jobs of tasks",
    },
    Grant {
        group: "policy",
        resources: &["poddisruptionbudgets"],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        reason: "keep drains from taking too many members",
    },
    Grant {
        group: "events.k8s.io",
        resources: &["events"],
        verbs: &["create", "patch"],
        reason: "tell users what was done; patch counts repeats",
    },
];

/// What the operator needs of objects that are in no namespace. Without it (an operator for some
/// namespaces, without a cluster role) lost and cordoned nodes are not recognised; all else works.
pub const CLUSTER_GRANTS: &[Grant] = &[Grant {
    group: "",
    resources: &["nodes"],
    verbs: &["get", "list", "watch"],
    reason: "tell a lost or cordoned node; store labels and failure domains from its labels",
}];

/// What the operator needs in its own namespace only.
pub const OWN_GRANTS: &[Grant] = &[Grant {
    group: "coordination.k8s.io",
    resources: &["leases"],
    verbs: &["get", "create", "patch"],
    reason: "decide which replica acts",
}];

/// What the operator needs in a namespace whose tasks use verbs or read Secrets, for the service
/// accounts that they name (`deploy/optional/task-accounts.yaml`). No part of its own role: a token of
/// an account is all that the account may do.
pub const ACCOUNT_GRANTS: &[Grant] = &[Grant {
    group: "",
    resources: &["serviceaccounts/token"],
    verbs: &["create"],
    reason: "do a task's verbs and read its Secrets as the service account that it names",
}];

/// The `rules:` of a role, as YAML, indented by nothing.
pub fn rules_yaml(grants: &[Grant]) -> String {
    let quoted = |items: &[&str]| {
        let items: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
        items.join(", ")
    };
    let mut yaml = String::from("rules:\n");
    for grant in grants {
        // Writing to a String cannot fail.
        let _ = write!(
            yaml,
            "  # {}\n  - apiGroups: [\"{}\"]\n    resources: [{}]\n    verbs: [{}]\n",
            grant.reason,
            grant.group,
            quoted(grant.resources),
            quoted(grant.verbs),
        );
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::Resource;

    #[test]
    fn everything_that_is_watched_may_be() {
        for resource in Resource::ALL {
            let grant = GRANTS.iter().find(|grant| {
                grant.group == resource.group() && grant.resources.contains(&resource.plural())
            });
            let grant = grant.unwrap_or_else(|| panic!("no grant for {resource:?}"));
            for verb in ["get", "list", "watch", "patch"] {
                assert!(grant.verbs.contains(&verb), "{resource:?} {verb}");
            }
        }
    }

    #[test]
    fn nodes_are_only_read() {
        for grant in CLUSTER_GRANTS {
            assert!(grant.verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb)));
        }
    }

    #[test]
    fn nothing_is_granted_by_a_wildcard_and_no_secret_can_be_read() {
        for grant in GRANTS.iter().chain(CLUSTER_GRANTS).chain(OWN_GRANTS) {
            let all = grant.resources.iter().chain(grant.verbs).chain([&grant.group]);
            assert!(all.into_iter().all(|word| !word.contains('*') && *word != "secrets"));
        }
    }

    #[test]
    fn no_role_of_the_operator_s_own_gives_tokens() {
        for grant in GRANTS.iter().chain(CLUSTER_GRANTS).chain(OWN_GRANTS) {
            assert!(!grant.resources.contains(&"serviceaccounts/token"));
        }
        let manifest = include_str!("../../../deploy/optional/task-accounts.yaml");
        for grant in ACCOUNT_GRANTS {
            let word = |word: &str| manifest.contains(&format!("\"{word}\""));
            assert!(grant.resources.iter().chain(grant.verbs).all(|text| word(text)));
        }
        assert!(manifest.contains("resourceNames:") && !manifest.contains("ClusterRole"));
    }

    #[test]
    fn rules_are_written_as_yaml() {
        let yaml = rules_yaml(OWN_GRANTS);
        assert_eq!(
            yaml,
            "rules:\n  # decide which replica acts\n  - apiGroups: [\"coordination.k8s.io\"]\n    \
             resources: [\"leases\"]\n    verbs: [\"get\", \"create\", \"patch\"]\n"
        );
    }
}
