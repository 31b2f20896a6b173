//! What is believed of settings: which are in force, and which changes are taken?

use super::source::{Belief, Source, belief};

/// See `says`.
pub const SETTINGS_PERSIST: Belief<()> = belief(
    (),
    "replication settings of the file are read until the first persist only",
    Source::Seen("pd-server v8.5.7: restart with a changed file"),
);

/// See `says`.
pub const PD_DEFAULTS: Belief<()> = belief(
    (),
    "without a configuration file PD has the recorded settings; it shows booleans as words, lists as one comma string and durations as Go does",
    Source::Recording("pd-recordings/config.txt"),
);

/// See `says`.
pub const PD_CHECKS_SETTINGS: Belief<()> = belief(
    (),
    "PD looks at a changed section as a whole: low-space-ratio is above high-space-ratio, both from 0 to 1, and isolation-level is empty or one of location-labels",
    Source::Read(
        "tikv/pd v8.5 pkg/schedule/config ScheduleConfig.Validate, ReplicationConfig.Validate; server/api/config.go",
    ),
);

/// See `says`.
pub const REPLICAS_NEED_A_CLUSTER: Belief<()> = belief(
    (),
    "before the first store has registered PD refuses every change of [replication]",
    Source::Script("pd/settings-checked.script"),
);

/// See `says`.
pub const TIKV_DEFAULTS: Belief<()> = belief(
    (),
    "without a configuration file a store has the recorded settings",
    Source::Recording("tikv-recordings/config.txt"),
);

/// See `says`.
pub const ONLINE_IS_LOST: Belief<()> = belief(
    (),
    "what is set through a store's status port with persist=false is in the process only",
    Source::Recording("tikv-recordings/config-post-online-ok.txt"),
);

/// See `says`.
pub const OFFLINE_ITEMS: Belief<&[&str]> = belief(
    &[
        "server.grpc-concurrency",
        "server.addr",
        "server.advertise-addr",
        "server.status-addr",
        "storage.data-dir",
        "storage.engine",
        "storage.api-version",
        "storage.enable-ttl",
        "storage.reserve-space",
        "raftstore.raftdb-path",
        "raftstore.prevote",
        "raftstore.capacity",
    ],
    "these items of a store are read at its start only, and a change online is refused whole",
    Source::Recording("tikv-recordings/config-post-offline.txt"),
);

/// See `says`.
pub const HIDDEN_ITEMS: Belief<&[&str]> = belief(
    &["raftstore.region-max-size"],
    "an item that has moved is still known where it was, is not shown, and cannot be changed",
    Source::Recording("tikv-recordings/config-post-bad-value.txt"),
);

/// See `says`.
pub const STORE_CHECKS_SETTINGS: Belief<()> = belief(
    (),
    "a store looks at its whole configuration before it takes a change: a region's greatest size and number of keys are not below those at which it splits",
    Source::Read(
        "tikv/tikv v8.5 src/config ConfigController.update; components/raftstore coprocessor/config.rs validate",
    ),
);

/// See `says`.
pub const LOG_LEVELS: Belief<&[&str]> = belief(
    &["debug", "info", "warn", "warning", "error", "fatal", "critical", "trace"],
    "a log level that does not exist ends the start",
    Source::Read(
        "tikv/pd v8.5 server/config Config.SetupLogger; tikv/tikv config/mod.rs LogLevel deserialize",
    ),
);

/// See `says`.
pub const STORE_READS_ITS_FILE: Belief<()> = belief(
    (),
    "an item of a store's file that it does not know is left out, and a value of another type ends its start",
    Source::Read(
        "tikv/tikv v8.5 src/config TikvConfig::from_file: unknown keys count with --config-check only",
    ),
);

/// Those without a value.
pub(super) const FACTS: [Belief<()>; 8] = [
    SETTINGS_PERSIST,
    PD_DEFAULTS,
    PD_CHECKS_SETTINGS,
    REPLICAS_NEED_A_CLUSTER,
    TIKV_DEFAULTS,
    ONLINE_IS_LOST,
    STORE_CHECKS_SETTINGS,
    STORE_READS_ITS_FILE,
];
