//! What does the model leave out on purpose, of what the real servers do?

/// Something that no script may ask of the model.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What is left out.
    pub left_out: &'static str,
    /// Why nothing that is decided depends on it.
    pub because: &'static str,
}

/// Of the API server, then of PD.
pub const LIMITS: &[Limit] = &[
    Limit {
        left_out: "objects are neither checked against a schema nor filled in with defaults",
        because: "builders' objects are tried on a real API server; furniture is compared leaf by leaf with what was asked for",
    },
    Limit {
        left_out: "PUT, and JSON patches",
        because: "the operator replaces no object: clippy.toml forbids the calls",
    },
    Limit {
        left_out: "applies without force, by several managers",
        because: "the operator applies with force and under one name; everybody else only edits",
    },
    Limit {
        left_out: "deletionGracePeriodSeconds, and a second deletion with less grace",
        because: "the operator gives none and reads none: a pod is gone when it is gone",
    },
    Limit {
        left_out: "the status of a disruption budget: an eviction counts pods at the moment it is asked for",
        because: "the real controller is late, which only refuses evictions longer",
    },
    Limit {
        left_out: "more than one namespace, and its end",
        because: "clusters of several namespaces share no object",
    },
    Limit {
        left_out: "weights and limits of stores, priorities of members, settings for a time, placement rules",
        because: "the operator sets none and decides nothing by them",
    },
    Limit {
        left_out: "schedulers that can be added but evict-leader, and the pausing of schedulers",
        because: "the operator adds no other",
    },
    Limit {
        left_out: "the rest of a message that Go's JSON writes of a wrong value",
        because: "it is shown to the user as it comes",
    },
];
