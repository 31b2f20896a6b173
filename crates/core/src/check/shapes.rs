//! Do values of Kubernetes' own types have the types that Kubernetes knows?
//!
//! The schema keeps them opaque, to stay small. A value of the wrong type would be refused pod by
//! pod, when half of the cluster exists; here it is named before anything is made. Fields that are
//! newer than our types pass: only the API server can judge them.

use k8s_openapi::api::core::v1 as core;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tikv_operator_api::v1alpha1::{PodSettings, Raw};

use super::problems::Problems;

/// Checks every such value of the settings at `path`.
pub(super) fn check(settings: &PodSettings, path: &str, problems: &mut Problems) {
    let mut seen = Shapes { path, problems };
    seen.one::<core::Affinity>(settings.affinity.as_ref(), "affinity");
    seen.one::<core::PodSecurityContext>(
        settings.pod_security_context.as_ref(),
        "podSecurityContext",
    );
    seen.one::<core::SecurityContext>(settings.security_context.as_ref(), "securityContext");
    seen.one::<core::PodDNSConfig>(settings.dns_config.as_ref(), "dnsConfig");
    seen.each::<core::Toleration>(settings.tolerations.as_ref(), "tolerations");
    seen.each::<core::TopologySpreadConstraint>(
        settings.topology_spread_constraints.as_ref(),
        "topologySpreadConstraints",
    );
    seen.each::<core::EnvVar>(settings.env.as_ref(), "env");
    seen.each::<core::EnvFromSource>(settings.env_from.as_ref(), "envFrom");
    seen.each::<core::Container>(settings.init_containers.as_ref(), "initContainers");
    seen.each::<core::Container>(settings.additional_containers.as_ref(), "additionalContainers");
    seen.each::<core::Volume>(settings.additional_volumes.as_ref(), "additionalVolumes");
    seen.each::<core::VolumeMount>(
        settings.additional_volume_mounts.as_ref(),
        "additionalVolumeMounts",
    );
    if let Some(spec) = settings.pod_template.as_ref().and_then(|raw| raw.0.get("spec")) {
        seen.value::<core::PodSpec>(spec, &format!("{path}.podTemplate.spec"));
    }
}

struct Shapes<'a> {
    path: &'a str,
    problems: &'a mut Problems,
}

impl Shapes<'_> {
    fn one<T: DeserializeOwned>(&mut self, raw: Option<&Raw>, name: &str) {
        if let Some(raw) = raw {
            self.value::<T>(&raw.0, &format!("{}.{name}", self.path));
        }
    }

    fn each<T: DeserializeOwned>(&mut self, list: Option<&Vec<Raw>>, name: &str) {
        for (index, raw) in list.into_iter().flatten().enumerate() {
            self.value::<T>(&raw.0, &format!("{}.{name}[{index}]", self.path));
        }
    }

    fn value<T: DeserializeOwned>(&mut self, value: &Value, field: &str) {
        if let Err(error) = T::deserialize(value) {
            let sentence = format!("Is not what Kubernetes expects here: {error}. Correct it.");
            self.problems.reject(field, sentence);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(settings: Value) -> Vec<String> {
        let settings: PodSettings = serde_json::from_value(settings).expect("settings");
        let mut problems = Problems::default();
        check(&settings, "spec.tikv", &mut problems);
        problems.rejection().problems.into_iter().map(|p| p.field).collect()
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named() {
        let found = problems(json!({
            "affinity": {"nodeAffinity": "near"},
            "podSecurityContext": {"runAsUser": "root"},
            "tolerations": [{"key": "a", "operator": "Exists"}, {"key": 5}],
            "additionalContainers": [{"name": "a", "image": "b", "args": "c"}],
            "podTemplate": {"spec": {"hostPID": "yes"}},
        }));
        assert_eq!(
            found,
            [
                "spec.tikv.affinity",
                "spec.tikv.podSecurityContext",
                "spec.tikv.tolerations[1]",
                "spec.tikv.additionalContainers[0]",
                "spec.tikv.podTemplate.spec",
            ]
        );
    }

    #[test]
    fn partial_values_and_fields_of_a_newer_kubernetes_pass() {
        let found = problems(json!({
            "affinity": {"nodeAffinity": {"inventedLater": true}},
            "podTemplate": {"spec": {
                "containers": [{"name": "tikv", "resources": {"inventedLater": 1}}],
                "volumes": null,
            }},
        }));
        assert_eq!(found, Vec::<String>::new());
    }
}
