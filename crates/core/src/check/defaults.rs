//! Which value does a field have that nobody set?
//!
//! The descriptions of the fields repeat these; a test compares them.

use std::time::Duration;

use tikv_operator_api::names::Component;

pub(super) const REPLICAS: i32 = 3;
pub(super) const TIMEZONE: &str = "UTC";
pub(super) const PORT_NAME: &str = "client";
pub(super) const PROBE_PERIOD_SECONDS: i32 = 2;
pub(super) const FAILOVER_AFTER: Duration = Duration::from_mins(10);
pub(super) const FAILOVER_QUARANTINE: Duration = Duration::from_hours(24);
pub(super) const FAILOVER_MAX: i32 = 3;
pub(super) const EVICT_LEADER_TIMEOUT: Duration = Duration::from_mins(10);
pub(super) const LEADER_RETURN_TIMEOUT: Duration = Duration::from_secs(400);
pub(super) const PARALLELISM: i32 = 1;

pub(super) fn base_image(component: Component) -> &'static str {
    match component {
        Component::Pd => "pingcap/pd",
        Component::Tikv => "pingcap/tikv",
    }
}

/// Size of the data volume.
pub(super) fn storage(component: Component) -> &'static str {
    match component {
        Component::Pd => "10Gi",
        Component::Tikv => tikv_operator_api::schema::TIKV_STORAGE_DEFAULT,
    }
}

/// Seconds from SIGTERM to SIGKILL. TiKV moves its leaders away for up to 20 s by itself, and below
/// v8.5.5 the operator does it while the container sleeps; PD hands over its leadership.
pub(super) fn grace_seconds(component: Component) -> i64 {
    match component {
        Component::Pd => 60,
        Component::Tikv => 120,
    }
}

#[cfg(test)]
mod tests {
    use tikv_operator_api::schema::rows;

    #[test]
    fn the_descriptions_say_the_same_defaults() {
        let rows = rows();
        let said = |path: &str| {
            rows.iter()
                .find(|row| row.path == path)
                .map(|row| row.default.clone())
                .unwrap_or_default()
        };
        for (path, default) in [
            ("spec.pd.baseImage", "pingcap/pd"),
            ("spec.tikv.baseImage", "pingcap/tikv"),
            ("spec.pd.replicas", "3"),
            ("spec.tikv.replicas", "3"),
            ("spec.timezone", "UTC"),
            ("spec.pd.service.portName", "client"),
            ("spec.readinessProbe.periodSeconds", "2"),
            ("spec.failover.after", "10m, at least 1m"),
            ("spec.failover.quarantine", "24h"),
            ("spec.maxFailoverCount", "3"),
            ("spec.tikv.evictLeaderTimeout", "10m"),
            ("spec.tikv.waitLeaderTransferBackTimeout", "400s"),
            ("spec.tikv.scalePolicy.scaleInParallelism", "1"),
            ("spec.tikv.requests", "storage 100Gi, nothing else"),
            ("spec.pd.requests", "storage 10Gi, nothing else"),
        ] {
            assert_eq!(said(path), default, "{path}");
        }
        assert!(said("spec.terminationGracePeriodSeconds").starts_with("60 for PD; 120 for TiKV"));
    }
}
