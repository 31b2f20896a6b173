//! How does a component come out of its own settings and the cluster-wide ones?

use std::collections::BTreeMap;
use std::time::Duration;

use tikv_operator_api::names::Component as Kind;
use tikv_operator_api::v1alpha1::{
    DurationText, Failover as RawFailover, PodSettings, PullPolicy, QuantityText, Raw,
    StorageVolume,
};

use super::merge::{self, Layers};
use super::problems::Problems;
use super::{config, defaults, merged, scalars, volumes};
use crate::cluster::{Component, Explicit, Failover, Probe, Quantity, Resources, Storage, Version};

/// What a component has beside the settings that exist cluster-wide too.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) kind: Kind,
    /// `spec.pd` or `spec.tikv`.
    pub(super) path: &'a str,
    pub(super) base_image: Option<&'a String>,
    /// The version that holds: the component's, else the cluster's.
    pub(super) version: &'a str,
    pub(super) requests: &'a BTreeMap<String, QuantityText>,
    pub(super) limits: &'a BTreeMap<String, QuantityText>,
    pub(super) config: Option<&'a Raw>,
    pub(super) volumes: &'a [StorageVolume],
    pub(super) data_sub_dir: Option<&'a String>,
}

/// The key in requests and limits that is not a resource of the container.
const STORAGE: &str = "storage";

/// Builds the component and reports what is wrong with it.
pub(super) fn build(own: Own<'_>, layers: Layers<'_>, problems: &mut Problems) -> Component {
    let Layers { own: mine, shared } = layers;
    let class = merge::scalar(mine.storage_class_name.as_ref(), shared.storage_class_name.as_ref());
    let extra = volumes::read(own.volumes, class.as_ref(), own.path, problems);
    let directories = volumes::directories(own.kind, &extra);
    let config_path = format!("{}.config", own.path);
    let place =
        config::Place { component: own.kind, path: &config_path, directories: &directories };
    let image = own.base_image.map_or_else(|| defaults::base_image(own.kind), String::as_str);
    let explicit = Explicit::of(own.base_image, mine, shared);
    let suspend = mine.suspend_action.as_ref().or(shared.suspend_action.as_ref());
    let component = Component {
        image: format!("{image}:{}", own.version),
        version: Version::parse(own.version),
        resources: Resources {
            requests: quantities(own.requests, &format!("{}.requests", own.path), problems),
            limits: quantities(own.limits, &format!("{}.limits", own.path), problems),
        },
        storage: Storage { size: storage(own, problems), class },
        volumes: extra,
        data_sub_dir: own.data_sub_dir.cloned(),
        config: config::read(own.config, place, problems),
        config_update: mine
            .config_update_strategy
            .or(shared.config_update_strategy)
            .unwrap_or_default(),
        reclaim: mine.pv_reclaim_policy.or(shared.pv_reclaim_policy).unwrap_or_default(),
        failover: failover(own.path, layers, problems),
        suspended: suspend.and_then(|s| s.suspend_stateful_set).unwrap_or_default(),
        ..pod(own.kind, layers, explicit)
    };
    merged::check(&component, own.path, problems);
    component
}

/// The settings that only need merging; what `build` fills in is empty.
fn pod(kind: Kind, layers: Layers<'_>, explicit: Explicit) -> Component {
    let Layers { own, shared } = layers;
    let named =
        |own: Option<&Vec<Raw>>, shared: Option<&Vec<Raw>>| merge::keyed("name", own, shared);
    let text = |own: &Option<String>, shared: &Option<String>| {
        merge::scalar(own.as_ref(), shared.as_ref())
    };
    Component {
        pull_policy: explicit.pull_policy.unwrap_or(PullPolicy::IfNotPresent),
        pull_secrets: pull_secrets(layers),
        host_network: explicit.host_network.unwrap_or_default(),
        affinity: merge::object(own.affinity.as_ref(), shared.affinity.as_ref()),
        priority_class: text(&own.priority_class_name, &shared.priority_class_name),
        scheduler: text(&own.scheduler_name, &shared.scheduler_name),
        node_selector: merge::map(&own.node_selector, &shared.node_selector),
        annotations: merge::map(&own.annotations, &shared.annotations),
        labels: merge::map(&own.labels, &shared.labels),
        tolerations: merge::list(own.tolerations.as_ref(), shared.tolerations.as_ref()),
        topology_spread: merge::list(
            own.topology_spread_constraints.as_ref(),
            shared.topology_spread_constraints.as_ref(),
        ),
        pod_security: merge::fields(
            own.pod_security_context.as_ref(),
            shared.pod_security_context.as_ref(),
        ),
        container_security: merge::fields(
            own.security_context.as_ref(),
            shared.security_context.as_ref(),
        ),
        grace_seconds: explicit.grace_seconds.unwrap_or_else(|| defaults::grace_seconds(kind)),
        env: named(own.env.as_ref(), shared.env.as_ref()),
        env_from: merge::list(own.env_from.as_ref(), shared.env_from.as_ref()),
        init_containers: named(own.init_containers.as_ref(), shared.init_containers.as_ref()),
        containers: named(
            own.additional_containers.as_ref(),
            shared.additional_containers.as_ref(),
        ),
        pod_volumes: named(own.additional_volumes.as_ref(), shared.additional_volumes.as_ref()),
        mounts: merge::keyed(
            "mountPath",
            own.additional_volume_mounts.as_ref(),
            shared.additional_volume_mounts.as_ref(),
        ),
        dns_config: merge::object(own.dns_config.as_ref(), shared.dns_config.as_ref()),
        dns_policy: own.dns_policy.or(shared.dns_policy),
        service_account: text(&own.service_account, &shared.service_account),
        automount_token: explicit.automount_token.unwrap_or_default(),
        probe: Probe {
            initial_delay_seconds: explicit.probe_delay_seconds.unwrap_or_default(),
            period_seconds: explicit.probe_period_seconds.unwrap_or(defaults::PROBE_PERIOD_SECONDS),
        },
        timezone: explicit.timezone.clone().unwrap_or_else(|| defaults::TIMEZONE.to_owned()),
        overlays: [shared, own]
            .into_iter()
            .filter_map(|settings| settings.pod_template.as_ref().map(|raw| raw.0.clone()))
            .collect(),
        explicit,
        ..Component::blank()
    }
}

fn pull_secrets(layers: Layers<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for settings in [layers.shared, layers.own] {
        for reference in settings.image_pull_secrets.iter().flatten() {
            if !names.contains(&reference.name) {
                names.push(reference.name.clone());
            }
        }
    }
    names
}

/// Quantities by resource name, `storage` apart.
fn quantities(
    raw: &BTreeMap<String, QuantityText>,
    path: &str,
    problems: &mut Problems,
) -> BTreeMap<String, Quantity> {
    let containers = raw.iter().filter(|(name, _)| name.as_str() != STORAGE);
    containers
        .map(|(name, text)| {
            let field = format!("{path}.{name}");
            if let Some(sentence) = super::keys::malformed(name) {
                problems.reject(&field, sentence);
            }
            (name.clone(), volumes::size(&text.0, &field, problems))
        })
        .collect()
}

fn storage(own: Own<'_>, problems: &mut Problems) -> Quantity {
    let field = format!("{}.requests.storage", own.path);
    match own.requests.get(STORAGE) {
        Some(text) => {
            let size = volumes::size(&text.0, &field, problems);
            if size.milli() == 0 {
                problems.broken(field, "storage-size");
            }
            size
        }
        None => volumes::size(defaults::storage(own.kind), &field, problems),
    }
}

/// `limits.storage`, where it is set.
pub(super) fn capacity(own: Own<'_>, problems: &mut Problems) -> Option<Quantity> {
    let field = format!("{}.limits.storage", own.path);
    own.limits.get(STORAGE).map(|text| volumes::size(&text.0, &field, problems))
}

fn failover(path: &str, layers: Layers<'_>, problems: &mut Problems) -> Failover {
    let Layers { own, shared } = layers;
    let of = |settings: &PodSettings| settings.failover.clone();
    let raw: RawFailover = of(own).or_else(|| of(shared)).unwrap_or_default();
    let at = if own.failover.is_some() { path } else { "spec" };
    let field = format!("{at}.failover.after");
    let after = duration(raw.after.as_ref(), defaults::FAILOVER_AFTER, &field, problems);
    if after < Duration::from_mins(1) {
        problems.broken(field, "failover-after");
    }
    let field = format!("{at}.failover.quarantine");
    let max = own.max_failover_count.or(shared.max_failover_count);
    Failover {
        after,
        quarantine: duration(
            raw.quarantine.as_ref(),
            defaults::FAILOVER_QUARANTINE,
            &field,
            problems,
        ),
        max: u32::try_from(max.unwrap_or(defaults::FAILOVER_MAX)).unwrap_or_default(),
    }
}

/// Reads a duration; the default stands in for one that cannot be read.
pub(super) fn duration(
    text: Option<&DurationText>,
    default: Duration,
    path: &str,
    problems: &mut Problems,
) -> Duration {
    let Some(DurationText(text)) = text else { return default };
    scalars::duration(text).unwrap_or_else(|| {
        problems.reject(path, format!("Is {text:?}, which is not a duration such as 90s or 10m."));
        default
    })
}
