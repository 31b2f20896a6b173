//! What does the name of a test not say about a scenario?

/// How a scenario is shown, or why it is not.
pub(crate) enum Note {
    /// A test whose name bears no number: file and name.
    Test(&'static str, &'static str),
    /// It is checked in every run, in words.
    Checked(&'static str),
    /// It cannot happen here.
    NotApplicable(&'static str),
    /// It belongs to a feature that is not there yet.
    Elsewhere(&'static str),
    /// Not shown, or not whole.
    Open(&'static str),
}

use Note::{Checked, Elsewhere, NotApplicable, Open, Test};

const AUDITOR: &str = "the auditor, in every script and random history";
const CRASHES: &str = "`scripts_end_the_same_with_a_crash_after_a_write`: every script again with the operator ending after three of its writes, with `cargo xtask test --all` after each";
const HISTORIES: &str = "random histories (crates/sim/tests/histories.rs)";
const TLS: &str =
    "TLS is on the roadmap and not there yet: the fields are refused with a condition";
const BACKUP: &str = "backup and restore are on the roadmap and not there yet";
const TASKS: &str = "tasks on events (TikvTask) are on the roadmap and not there yet";

/// Notes by scenario.
pub(crate) const NOTES: &[(&str, Note)] = &[
    ("1", Checked("end to end: basic")),
    ("6", Checked("golden files of the builders (crates/core/tests/golden.rs)")),
    (
        "7",
        Test(
            "crates/operator/tests/apiserver/definition.rs",
            "what_must_not_pass_is_rejected_by_whom_the_table_says",
        ),
    ),
    (
        "7",
        Test(
            "crates/operator/tests/apiserver/scopes.rs",
            "specs_that_only_the_operator_can_judge_get_a_condition_and_nothing_else",
        ),
    ),
    ("9", Checked("end to end: operator-gone")),
    ("10", Checked("revisions of fixed specs are kept in a file: crates/core/tests/revision.rs")),
    (
        "12",
        Test(
            "crates/operator/tests/apiserver/scopes.rs",
            "with_a_selector_other_clusters_are_left_alone",
        ),
    ),
    (
        "13",
        Test(
            "crates/operator/tests/apiserver/strangers.rs",
            "what_is_deleted_or_changed_by_hand_comes_back_and_the_pods_stay",
        ),
    ),
    ("14", Checked("end to end: furniture")),
    (
        "18",
        Checked(
            "every field of the schema has an effect or a rejection: crates/core/tests/leaf_walk",
        ),
    ),
    ("58", Checked("end to end: life-scale")),
    ("59", Checked("`f64_scale_in_to_nothing.txt`")),
    (
        "71",
        NotApplicable(
            "no recovery is requested: a replacement leaves by itself when the lost store is back (`s64_failed_store_returns.txt`)",
        ),
    ),
    (
        "75",
        Checked(
            "stale watches and refused writes in random histories; nothing is done on a cache alone",
        ),
    ),
    (
        "78",
        Checked(
            "the status is computed anew in each pass and compared with the truth at rest (I13)",
        ),
    ),
    (
        "90",
        Open(
            "`clusterDomain` is in the golden files; IPv6-only networks and slow DNS need a real network",
        ),
    ),
    (
        "83",
        Test(
            "crates/operator/tests/apiserver/definition.rs",
            "what_must_not_pass_is_rejected_by_whom_the_table_says",
        ),
    ),
    (
        "84",
        Elsewhere(
            "a volume keeps its class: another class is for new volumes only, and said (`class-is-fixed`)",
        ),
    ),
    ("87", Elsewhere(TLS)),
    ("88", Elsewhere(TLS)),
    ("89", Elsewhere(TLS)),
    (
        "91",
        Elsewhere(
            "a second cluster beside the same PD (`pdAddresses`) is refused with a condition",
        ),
    ),
    (
        "93",
        Test(
            "crates/operator/tests/apiserver/quiet.rs",
            "a_quiet_cluster_is_neither_read_nor_written",
        ),
    ),
    (
        "94",
        Checked(
            "every script prints what is waited for; the auditor calls a wait without a word a silent stall",
        ),
    ),
    ("95", Elsewhere(BACKUP)),
    ("96", NotApplicable("no start script: containers run the image's own entrypoint")),
    ("F1", Checked(CRASHES)),
    ("F2", Checked(CRASHES)),
    (
        "F4",
        Test(
            "crates/operator/tests/apiserver/processes.rs",
            "sigterm_ends_the_program_well_and_the_other_one_acts_at_once",
        ),
    ),
    (
        "F5",
        Test(
            "crates/operator/tests/apiserver/processes.rs",
            "a_stopped_process_that_goes_on_no_longer_leads",
        ),
    ),
    ("F7", Test("crates/sim/tests/teeth/main.rs", "one_that_counts_delays_by_the_wall_clock")),
    (
        "F7",
        Test(
            "crates/operator/src/lease/election.rs",
            "anothers_lease_is_taken_only_after_it_was_seen_unchanged_for_its_whole_time",
        ),
    ),
    (
        "F10",
        Test(
            "crates/operator/tests/apiserver/lease.rs",
            "a_replica_whose_lease_was_taken_stops_at_its_next_look",
        ),
    ),
    (
        "F10",
        Open(
            "two installations that look after the same clusters with different Leases are not told apart",
        ),
    ),
    ("F11", Checked(HISTORIES)),
    ("F12", Checked(HISTORIES)),
    ("F14", Checked(HISTORIES)),
    (
        "F16",
        Test(
            "crates/operator/tests/apiserver/outage.rs",
            "after_an_outage_the_operator_goes_on_and_has_touched_no_pod",
        ),
    ),
    (
        "F17",
        Test(
            "crates/operator/tests/apiserver/outage.rs",
            "after_an_outage_the_operator_goes_on_and_has_touched_no_pod",
        ),
    ),
    (
        "F20",
        Test("crates/sim/tests/teeth/main.rs", "one_that_applies_what_is_changed_back_for_ever"),
    ),
    (
        "F22",
        Checked("end to end: the namespaces of the suite are under Pod Security \"restricted\""),
    ),
    (
        "F23",
        Test(
            "crates/operator/tests/apiserver/roles.rs",
            "a_missing_verb_is_named_in_the_status_and_its_return_needs_no_restart",
        ),
    ),
    (
        "F24",
        Open("versions of the resource definition beside each other come with its second version"),
    ),
    (
        "F25",
        Test(
            "crates/operator/tests/apiserver/steps.rs",
            "the_finalizer_comes_and_goes_beside_those_of_others",
        ),
    ),
    ("F25", Test("crates/sim/tests/teeth/main.rs", "one_that_repairs_what_is_being_deleted")),
    (
        "F27",
        Test(
            "crates/operator/tests/apiserver/scopes.rs",
            "in_a_namespace_that_is_being_deleted_creates_stop",
        ),
    ),
    (
        "F30",
        Test(
            "crates/operator/tests/apiserver/strangers.rs",
            "what_is_deleted_or_changed_by_hand_comes_back_and_the_pods_stay",
        ),
    ),
    (
        "F32",
        Test(
            "crates/operator/tests/apiserver/scopes.rs",
            "a_thousand_edits_fall_together_and_the_last_one_counts",
        ),
    ),
    (
        "F34",
        Test(
            "crates/operator/tests/apiserver/definition.rs",
            "what_must_not_pass_is_rejected_by_whom_the_table_says",
        ),
    ),
    ("F38", Checked(AUDITOR)),
    ("F48", Elsewhere("certificates come with TLS; `clusterDomain` is fixed at creation")),
    (
        "F49",
        Test("crates/operator/src/pd/hostile_tests.rs", "the_next_member_is_asked_when_one_fails"),
    ),
    ("F42", Checked("end to end: grow")),
    ("F42", Checked("end to end, `--all`: read-only")),
    ("F42", Open("a disk that is slow is made nowhere")),
    ("F50", Test("crates/operator/src/pd/hostile_tests.rs", "half_an_answer_is_none")),
    ("F50", Test("crates/operator/src/pd/hostile_tests.rs", "a_huge_body_is_not_read_to_its_end")),
    ("F56", Open("etcd's own alarms and clock skew between PDs need real PDs")),
    (
        "F57",
        Test("crates/operator/src/pd/recording_tests.rs", "without_a_leader_there_is_no_answer"),
    ),
    ("F68", Checked("`s29_leaders_do_not_leave.txt`")),
    (
        "F74",
        Checked(
            "`s77_pd_unreachable.txt`: for the operator a blocked PD and a silent one are the same",
        ),
    ),
    ("F73", Checked("end to end: partition")),
    ("F73", Open("packets that are only late are made nowhere")),
    ("F75", Elsewhere(TLS)),
    ("F76", Elsewhere(BACKUP)),
    ("F77", Elsewhere(BACKUP)),
    ("F78", Elsewhere(TASKS)),
    ("I1", Checked(AUDITOR)),
    ("I2", Checked(AUDITOR)),
    ("I3", Checked(AUDITOR)),
    ("I4", Checked(AUDITOR)),
    ("I5", Checked("`quiet` in every script; end to end: quiet")),
    ("I6", Checked(AUDITOR)),
    (
        "I7",
        Test(
            "crates/operator/tests/apiserver/processes.rs",
            "a_stopped_process_that_goes_on_no_longer_leads",
        ),
    ),
    ("I8", Checked(AUDITOR)),
    ("I9", Checked("`settle` in scripts and random histories")),
    ("I10", Checked(HISTORIES)),
    (
        "I11",
        Checked(
            "the auditor: no acknowledged write is lost; end to end, with a client whose success, gaps and registers' histories are judged: life-scale, life-pd, life-roll, drain",
        ),
    ),
    (
        "I12",
        Checked(
            "the auditor counts refused calls; a panic ends any run; back-off and secrets are tested in the operator",
        ),
    ),
    ("I13", Checked(AUDITOR)),
];
