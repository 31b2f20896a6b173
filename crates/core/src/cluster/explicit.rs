//! Which values did the user write, where the operator has a default of its own?
//!
//! The checked component holds resolved values, which builders need. The revision of a pod must
//! not change because a newer operator has a newer default, so it looks at what was written: a
//! value that was left out counts as left out, whatever it resolves to.

use serde::Serialize;
use tikv_operator_api::v1alpha1::{PodSettings, PullPolicy};

/// The written values of the fields with a default; `None`: left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explicit {
    /// `baseImage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_image: Option<String>,
    /// `imagePullPolicy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// `hostNetwork`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// `terminationGracePeriodSeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<i64>,
    /// `automountServiceAccountToken`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_token: Option<bool>,
    /// `readinessProbe.initialDelaySeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_delay_seconds: Option<i32>,
    /// `readinessProbe.periodSeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_period_seconds: Option<i32>,
    /// `timezone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

impl Explicit {
    /// Reads the component's settings, then the cluster-wide ones.
    pub fn of(base_image: Option<&String>, own: &PodSettings, shared: &PodSettings) -> Self {
        // A component's probe replaces the cluster-wide one as a whole, as every object does.
        let probe = own.readiness_probe.as_ref().or(shared.readiness_probe.as_ref());
        Self {
            base_image: base_image.cloned(),
            pull_policy: own.image_pull_policy.or(shared.image_pull_policy),
            host_network: own.host_network.or(shared.host_network),
            grace_seconds: own
                .termination_grace_period_seconds
                .or(shared.termination_grace_period_seconds),
            automount_token: own
                .automount_service_account_token
                .or(shared.automount_service_account_token),
            probe_delay_seconds: probe.and_then(|p| p.initial_delay_seconds),
            probe_period_seconds: probe.and_then(|p| p.period_seconds),
            timezone: own.timezone.clone().or_else(|| shared.timezone.clone()),
        }
    }
}
