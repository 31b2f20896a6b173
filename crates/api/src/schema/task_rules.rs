//! Which rules in CEL does the API server evaluate of a task?

use super::Rule;

/// All rules of `TikvTask`.
pub const TASK_RULES: &[Rule] = &[
    Rule {
        name: "task-name",
        at: &[""],
        cel: "self.metadata.name.size() <= 46 && \
              self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        message: "metadata.name must be a DNS label of at most 46 characters (a-z, 0-9 and -): Jobs \
                  are named after it. Choose another name.",
    },
    Rule {
        name: "task-target",
        at: &["spec"],
        cel: "has(self.cluster) != has(self.clusterSelector)",
        message: "exactly one of cluster and clusterSelector says which cluster is meant. Set one and \
                  remove the other.",
    },
    Rule {
        name: "task-selector",
        at: &["spec.clusterSelector"],
        cel: "has(self.matchLabels) && self.matchLabels.size() > 0",
        message: "matchLabels is empty, which would mean every cluster. Name at least one label.",
    },
    Rule {
        name: "task-trigger",
        at: &["spec"],
        cel: "(has(self.events) && self.events.size() > 0 ? 1 : 0) + (has(self.schedule) ? 1 : 0) + \
              (has(self.immediately) && self.immediately ? 1 : 0) == 1",
        message: "exactly one of events, schedule and immediately (true) says when a run starts. Set one \
                  and remove the others.",
    },
    Rule {
        name: "task-time-zone",
        at: &["spec"],
        cel: "!has(self.timeZone) || has(self.schedule)",
        message: "timeZone has a meaning only beside schedule. Remove it.",
    },
    Rule {
        name: "task-gate",
        at: &["spec"],
        cel: "!has(self.gate) || self.gate != 'before' || (has(self.events) && self.events.size() > 0 && \
              self.events.all(e, e in ['UpgradeStarting']))",
        message: "gate: before needs events that announce something the operator can wait with, and \
                  no other events: UpgradeStarting. Use gate: after, or make two tasks.",
    },
    Rule {
        name: "task-run",
        at: &["spec.run"],
        cel: "(has(self.job) ? 1 : 0) + (has(self.http) ? 1 : 0) + (has(self.restart) ? 1 : 0) + \
              (has(self.evictLeaders) ? 1 : 0) + (has(self.restoreLeaders) ? 1 : 0) + \
              (has(self.storeReplace) ? 1 : 0) + (has(self.compact) ? 1 : 0) + \
              (has(self.configSet) ? 1 : 0) + (has(self.scale) ? 1 : 0) == 1",
        message: "run must have exactly one of job, http, restart, evictLeaders, restoreLeaders, \
                  storeReplace, compact, configSet and scale. Keep one of them.",
    },
    Rule {
        name: "task-account",
        at: &["spec"],
        cel: "has(self.serviceAccountName) || !(has(self.run.restart) || \
              has(self.run.evictLeaders) || has(self.run.restoreLeaders) || \
              has(self.run.storeReplace) || has(self.run.configSet) || has(self.run.scale) || \
              (has(self.run.http) && (has(self.run.http.headersFrom) || has(self.run.http.tls))))",
        message: "serviceAccountName is required for what changes the cluster or reads a Secret: it is \
                  done with the rights of that account. Name one of this namespace.",
    },
    Rule {
        name: "task-scale",
        at: &["spec.run.scale"],
        cel: "has(self.by) != has(self.to) && (!has(self.by) || self.by != 0) && \
              (!has(self.min) || !has(self.max) || self.min <= self.max)",
        message: "scale needs exactly one of by (not 0) and to, and min must not be above max. Correct \
                  it.",
    },
    Rule {
        name: "task-restart",
        at: &["spec.run.restart"],
        cel: "!(has(self.component) && has(self.pods))",
        message: "restart takes component or pods, not both. Remove one.",
    },
    Rule {
        name: "task-timeout",
        at: &["spec"],
        cel: "!has(self.timeout) || (duration(self.timeout) >= duration('1s') && \
              duration(self.timeout) <= duration('168h'))",
        message: "timeout must be from 1s to 168h. Correct it.",
    },
    Rule {
        name: "task-attempt-timeout",
        at: &["spec.run.http"],
        cel: "!has(self.attemptTimeout) || (duration(self.attemptTimeout) >= duration('1s') && \
              duration(self.attemptTimeout) <= duration('60s'))",
        message: "attemptTimeout must be from 1s to 60s. Correct it.",
    },
];
