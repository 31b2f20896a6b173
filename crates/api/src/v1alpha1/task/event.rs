//! What can happen to a cluster that a task can be about?

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares the events with their meaning, once for the schema, the page and the code.
macro_rules! events {
    ($($name:ident, $subject:literal, $doc:literal;)*) => {
        /// Something that happens to a cluster. The names are public and never change.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            JsonSchema,
        )]
        pub enum TaskEvent {
            $(#[doc = $doc] $name,)*
        }

        impl TaskEvent {
            /// Every event, in the order of the page.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in manifests.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it says, one sentence.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$name => $doc,)* }
            }

            /// What its subject is.
            pub const fn subject(self) -> &'static str {
                match self { $(Self::$name => $subject,)* }
            }
        }
    };
}

events! {
    StoreDown, "store id",
        "PD calls a store Down, or has not heard it for more than a minute, or its replacement was begun.";
    StoreBack, "store id",
        "A store that was down is Up again.";
    StoreReplaced, "id of the lost store",
        "A lost store has left PD and the one that was made for it is Up.";
    DiskAlmostFull, "store id",
        "A store's disk is used to 80 %, and again at 85, 90 and 95 %; below 78 % it counts as free again.";
    PdMemberLost, "name of the member",
        "A PD member has not been healthy for a minute, or its replacement was begun.";
    PdLeaderChanged, "name of the new leader",
        "Another PD member leads than before.";
    PdQuorumLost, "name of the cluster",
        "Too few PD members run for PD to have a leader.";
    ScaleStarted, "`pd` or `tikv`",
        "The spec asks for another number of members than the cluster had when it last had all of them.";
    ScaleFinished, "`pd` or `tikv`",
        "All members that the spec asks for are there and healthy, and no other.";
    ScaleRefused, "subject of the wait",
        "Stores do not leave because of `stores-fit-max-replicas` or `stores-have-room`.";
    UpgradeStarting, "name of the cluster",
        "Members run another image than the spec asks for. Where a task asks for this event, it is announced in `status.upgrade` before the first of them is restarted.";
    StoreUpgraded, "store id",
        "A store reports another version than before.";
    UpgradeFinished, "name of the cluster",
        "All members run the image that the spec asks for, and all of them are healthy.";
    UpgradeStuck, "name of the cluster",
        "No member got the new image for 30 minutes while some still run another one and no gate holds them.";
    ConfigDrift, "`pd` or a pod, and the setting",
        "A live setting differs from the spec.";
    CertificateExpiring, "name of the Secret",
        "A certificate of the cluster ends soon. Reserved: this version has no encrypted connections and never raises it.";
    ClusterReady, "name of the cluster",
        "The condition Ready turned True.";
    ClusterDegraded, "name of the cluster",
        "The condition Degraded turned True.";
    NodeCordoned, "name of the node",
        "A node that members run on was cordoned.";
}

impl TaskEvent {
    /// Does it announce something that the operator can wait with?
    pub const fn is_announced(self) -> bool {
        matches!(self, Self::UpgradeStarting)
    }

    /// Does this version ever raise it?
    pub const fn is_raised(self) -> bool {
        !matches!(self, Self::CertificateExpiring)
    }
}

impl fmt::Display for TaskEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
