//! Which conditions does a cluster's status have?
//!
//! All follow the conventions that kstatus (and so Argo CD, Flux, `kubectl wait`) reads.

/// Usable and safe: PD has a leader, all members healthy, all stores Up, every region at full
/// replication, all pods on the wanted revision.
pub const READY: &str = "Ready";
/// The operator is working towards the spec. False when nothing is left to do.
pub const PROGRESSING: &str = "Progressing";
/// Something is wrong that will not pass by itself, or a field could not be honoured.
pub const DEGRADED: &str = "Degraded";
/// `spec.paused` is set: the operator writes status only.
pub const PAUSED: &str = "Paused";
/// A field is set whose behaviour this version does not have: today none, since it acts on every field or
/// refuses it. The message also names values that are allowed and unwise.
pub const UNSUPPORTED: &str = "UnsupportedFields";

/// The condition types in the order in which they are shown.
pub const TYPES: [&str; 5] = [READY, PROGRESSING, DEGRADED, PAUSED, UNSUPPORTED];
