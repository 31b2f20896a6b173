//! Which rules in CEL does the API server evaluate?
//!
//! One table instead of attributes next to the fields: the same rule stands at several places
//! (cluster-wide settings and each component's), the checks of the operator give the same messages
//! (by [`message`]), and tests ask for a case per rule. A rule that reads `oldSelf` holds for
//! updates only.

/// A rule, with every place in the schema where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Kebab-case, for tests and for [`message`].
    pub name: &'static str,
    /// Paths in the schema; `[]` is a list's element, the empty path the root.
    pub at: &'static [&'static str],
    /// The expression; true is good.
    pub cel: &'static str,
    /// What is wrong, and the way out.
    pub message: &'static str,
}

/// Size of a store's data volume where the spec has none.
pub const TIKV_STORAGE_DEFAULT: &str = "100Gi";

const SETTINGS: &[&str] = &["spec", "spec.pd", "spec.tikv"];
const COMPONENTS: &[&str] = &["spec.pd", "spec.tikv"];
const LABELLED: &[&str] = &["spec", "spec.pd", "spec.tikv", "spec.pd.service"];
const VOLUMES: &[&str] = &["spec.pd.storageVolumes[]", "spec.tikv.storageVolumes[]"];

/// The message of a rule, for checks that say the same; empty where there is no such rule.
pub fn message(name: &str) -> &'static str {
    let mut rules = RULES.iter().chain(super::TASK_RULES);
    rules.find(|rule| rule.name == name).map_or("", |rule| rule.message)
}

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "cluster-name",
        at: &[""],
        cel: "self.metadata.name.size() <= 52 && \
              self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message: "metadata.name must be a DNS-1035 label of at most 52 characters (a-z, 0-9 and -, \
                  first a letter): pods and Services are named after it. Choose another name.",
    },
    Rule {
        name: "cluster-domain-fixed",
        at: &["spec"],
        cel: "(has(self.clusterDomain) ? self.clusterDomain : '') == \
              (has(oldSelf.clusterDomain) ? oldSelf.clusterDomain : '')",
        message: "clusterDomain cannot change: PD stores its members' addresses. Put the old value \
                  back, or create another cluster.",
    },
    Rule {
        name: "pd-addresses-fixed",
        at: &["spec"],
        cel: "(has(self.pdAddresses) ? self.pdAddresses : []) == \
              (has(oldSelf.pdAddresses) ? oldSelf.pdAddresses : [])",
        message: "pdAddresses cannot change: a cluster cannot move to another PD. Put the old value \
                  back, or create another cluster.",
    },
    Rule {
        name: "data-sub-dir-fixed",
        at: COMPONENTS,
        cel: "(has(self.dataSubDir) ? self.dataSubDir : '') == \
              (has(oldSelf.dataSubDir) ? oldSelf.dataSubDir : '')",
        message: "dataSubDir cannot change: the servers would start without their data. Put the old \
                  value back.",
    },
    Rule {
        name: "storage-volumes-fixed",
        at: COMPONENTS,
        cel: "(has(self.storageVolumes) ? self.storageVolumes.size() : 0) == \
              (has(oldSelf.storageVolumes) ? oldSelf.storageVolumes.size() : 0) && \
              (!has(self.storageVolumes) || !has(oldSelf.storageVolumes) || \
              self.storageVolumes.all(v, oldSelf.storageVolumes.exists(o, \
              o.name == v.name && o.mountPath == v.mountPath)))",
        message: "storageVolumes cannot be added, removed or moved: the servers would start without \
                  what is on them. Put the old list back; sizes may grow.",
    },
    Rule {
        name: "storage-volumes-apart",
        at: COMPONENTS,
        cel: "!has(self.storageVolumes) || self.storageVolumes.all(a, \
              self.storageVolumes.exists_one(b, b.mountPath == a.mountPath))",
        message: "two storageVolumes have the same mountPath. Give each its own.",
    },
    Rule {
        name: "storage-volume-name",
        at: VOLUMES,
        cel: "!(self.name in ['pd', 'tikv', 'data', 'config', 'tmp'])",
        message: "the names pd, tikv, data, config and tmp are the operator's own volumes. Choose \
                  another name.",
    },
    Rule {
        name: "storage-volume-path",
        at: VOLUMES,
        cel: "!['/var/lib/pd', '/var/lib/tikv', '/etc/pd', '/etc/tikv', '/tmp'].exists(r, \
              self.mountPath == r || self.mountPath.startsWith(r + '/') || \
              r.startsWith(self.mountPath + '/'))",
        message: "mountPath would hide a directory that the operator mounts (/var/lib/pd, \
                  /var/lib/tikv, /etc/pd, /etc/tikv, /tmp). Choose a path apart from these.",
    },
    Rule {
        name: "storage-volume-size",
        at: VOLUMES,
        cel: "quantity(string(self.storageSize)).isGreaterThan(quantity('0'))",
        message: "storageSize must be above 0, such as 10Gi.",
    },
    Rule {
        name: "storage-size",
        at: COMPONENTS,
        cel: "!has(self.requests) || !('storage' in self.requests) || \
              quantity(string(self.requests['storage'])).isGreaterThan(quantity('0'))",
        message: "requests.storage must be above 0, such as 10Gi: it is the size of the data volume.",
    },
    Rule {
        name: "pd-no-capacity",
        at: &["spec.pd"],
        cel: "!has(self.limits) || !('storage' in self.limits)",
        message: "limits.storage has no meaning for PD. Remove it; requests.storage is the size of \
                  the volume.",
    },
    Rule {
        name: "capacity-fits-volume",
        at: &["spec.tikv"],
        cel: "!has(self.limits) || !('storage' in self.limits) || \
              quantity(string(self.limits['storage'])).compareTo(quantity(\
              has(self.requests) && 'storage' in self.requests ? \
              string(self.requests['storage']) : '100Gi')) <= 0",
        message: "limits.storage is the capacity that TiKV reports and must not exceed \
                  requests.storage (default 100Gi), the size of its volume. Lower the one or raise \
                  the other.",
    },
    Rule {
        name: "requests-within-limits",
        at: COMPONENTS,
        cel: "!has(self.requests) || !has(self.limits) || self.requests.all(k, k == 'storage' || \
              !(k in self.limits) || quantity(string(self.requests[k])).compareTo(\
              quantity(string(self.limits[k]))) <= 0)",
        message: "one of requests is above its limit; Kubernetes would refuse the pod. Lower the one or \
                  raise the other.",
    },
    Rule {
        name: "labels-reserved",
        at: LABELLED,
        cel: "!has(self.labels) || self.labels.all(k, !k.startsWith('tikv.org/') && \
              !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', \
              'app.kubernetes.io/component', 'app.kubernetes.io/managed-by']))",
        message: "labels under tikv.org/ and app.kubernetes.io/name, /instance, /component and \
                  /managed-by are the operator's: Services and budgets select by them. Choose \
                  other keys.",
    },
    Rule {
        name: "annotations-reserved",
        at: LABELLED,
        cel: "!has(self.annotations) || self.annotations.all(k, !k.startsWith('tikv.org/'))",
        message: "annotations under tikv.org/ are the operator's. Choose other keys.",
    },
    Rule {
        name: "env-reserved",
        at: SETTINGS,
        cel: "!has(self.env) || self.env.all(e, e.name != 'TZ')",
        message: "the variable TZ is set from timezone. Set timezone instead.",
    },
    Rule {
        name: "container-names",
        at: SETTINGS,
        cel: "(!has(self.additionalContainers) || \
              self.additionalContainers.all(c, !(c.name in ['pd', 'tikv']))) && \
              (!has(self.initContainers) || \
              self.initContainers.all(c, !(c.name in ['pd', 'tikv'])))",
        message: "the container names pd and tikv are the servers' own. Choose another name; \
                  podTemplate changes the server's container.",
    },
    Rule {
        name: "container-names-apart",
        at: SETTINGS,
        cel: "!has(self.additionalContainers) || !has(self.initContainers) || \
              self.additionalContainers.all(a, !self.initContainers.exists(i, i.name == a.name))",
        message: "initContainers and additionalContainers share a name; Kubernetes would refuse the \
                  pod. Rename one.",
    },
    Rule {
        name: "volume-names",
        at: SETTINGS,
        cel: "!has(self.additionalVolumes) || self.additionalVolumes.all(v, \
              !(v.name in ['pd', 'tikv', 'data', 'config', 'tmp']))",
        message: "the volume names pd, tikv, data, config and tmp are the operator's. Choose \
                  another name.",
    },
    Rule {
        name: "mount-paths",
        at: SETTINGS,
        cel: "!has(self.additionalVolumeMounts) || self.additionalVolumeMounts.all(m, \
              m.mountPath != '/' && \
              !['/var/lib/pd', '/var/lib/tikv', '/etc/pd', '/etc/tikv', '/tmp'].exists(r, \
              m.mountPath == r || m.mountPath.startsWith(r + '/') || \
              r.startsWith(m.mountPath + '/')))",
        message: "a mountPath would hide a directory that the operator mounts (/var/lib/pd, \
                  /var/lib/tikv, /etc/pd, /etc/tikv, /tmp). Choose a path apart from these.",
    },
    Rule {
        name: "failover-after",
        at: &["spec.failover", "spec.pd.failover", "spec.tikv.failover"],
        cel: "!has(self.after) || duration(self.after) >= duration('1m')",
        message: "failover.after must be at least 1m: PD itself needs that long to be sure. Raise it.",
    },
    Rule {
        name: "evict-timeout",
        at: &["spec.tikv"],
        cel: "!has(self.evictLeaderTimeout) || \
              duration(self.evictLeaderTimeout) >= duration('1s')",
        message: "evictLeaderTimeout must be at least 1s. Raise it.",
    },
    Rule {
        name: "balancer-fields",
        at: &["spec.pd.service"],
        cel: "(has(self.type) && self.type == 'LoadBalancer') || \
              !(has(self.loadBalancerIP) || has(self.loadBalancerClass) || \
              has(self.loadBalancerSourceRanges))",
        message: "loadBalancerIP, loadBalancerClass and loadBalancerSourceRanges need type \
                  LoadBalancer. Set the type or remove them.",
    },
    Rule {
        name: "headless-type",
        at: &["spec.pd.service"],
        cel: "!(has(self.clusterIP) && self.clusterIP == 'None' && has(self.type) && \
              self.type != 'ClusterIP')",
        message: "a headless Service (clusterIP None) has type ClusterIP. Change the one or the \
                  other.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn names_are_unique_and_messages_end_as_sentences() {
        let rules: Vec<&Rule> = RULES.iter().chain(crate::schema::TASK_RULES).collect();
        for (index, rule) in rules.iter().enumerate() {
            assert!(rules[..index].iter().all(|other| other.name != rule.name), "{}", rule.name);
            assert!(rule.message.ends_with('.') || rule.message.contains(". "), "{}", rule.name);
            assert_eq!(message(rule.name), rule.message);
        }
    }

    /// CEL cannot read our constants, so the texts repeat them.
    #[test]
    fn texts_repeat_the_constants() {
        assert!(RULES[0].cel.contains(&format!("<= {} ", names::CLUSTER_NAME_MAX)));
        assert!(message("capacity-fits-volume").contains(TIKV_STORAGE_DEFAULT));
        for path in names::MOUNTED {
            for rule in
                RULES.iter().filter(|r| ["mount-paths", "storage-volume-path"].contains(&r.name))
            {
                assert!(rule.cel.contains(&format!("'{path}'")), "{}: {path}", rule.name);
                assert!(rule.message.contains(path), "{}: {path}", rule.name);
            }
        }
        for name in names::RESERVED_VOLUMES {
            for rule in
                RULES.iter().filter(|r| ["volume-names", "storage-volume-name"].contains(&r.name))
            {
                assert!(rule.cel.contains(&format!("'{name}'")), "{}: {name}", rule.name);
            }
        }
    }
}
