//! Which fields does TiDB Operator have, and what became of each?

use super::Fate::{self, Refused, Renamed, Same, SameBut};
use super::{Field, Group};

const fn f(name: &'static str, fate: Fate) -> Field {
    Field { name, fate }
}

const OTHER_SERVER: &str = "Not a server of TiKV.";
const NO_SET: &str = "Pods are managed directly; there is no StatefulSet.";
const NO_SCRIPT: &str =
    "There is no start script and no shell: the operator computes the arguments.";
const NO_DISCOVERY: &str = "There is no discovery service: the operator decides how PD starts.";
const DASHBOARD: &str = "It serves TiDB's Dashboard.";
const LATER: &str = "Volumes are not replaced yet.";
const ATTRIBUTES: &str = "Changing a volume's attributes class is not there yet.";
const LOG_TAIL: &str = "A log on a volume of its own is shown by a container in \
                        additionalContainers.";
const COMPONENTS: &[&str] = &["spec.pd", "spec.tikv"];

/// All groups.
pub const GROUPS: &[Group] = &[
    Group { name: "TidbClusterSpec", at: &["spec"], fields: CLUSTER },
    Group { name: "ComponentSpec", at: COMPONENTS, fields: COMPONENT },
    Group { name: "ResourceRequirements", at: COMPONENTS, fields: RESOURCES },
    Group { name: "PDSpec", at: &["spec.pd"], fields: PD },
    Group { name: "TiKVSpec", at: &["spec.tikv"], fields: TIKV },
    Group { name: "ServiceSpec", at: &["spec.pd.service"], fields: SERVICE },
    Group {
        name: "StorageVolume",
        at: &["spec.pd.storageVolumes[]", "spec.tikv.storageVolumes[]"],
        fields: VOLUME,
    },
];

const CLUSTER: &[Field] = &[
    f("discovery", Refused(NO_DISCOVERY)),
    f("serviceAccount", Same),
    f("pd", SameBut("Optional: 3 members by default.")),
    f("pdms", Refused("PD as micro-services is not there.")),
    f("tidb", Refused(OTHER_SERVER)),
    f("tikv", SameBut("Optional: 3 stores by default.")),
    f("tiflash", Refused(OTHER_SERVER)),
    f("ticdc", Refused(OTHER_SERVER)),
    f("tiproxy", Refused(OTHER_SERVER)),
    f("pump", Refused(OTHER_SERVER)),
    f("helper", Refused("No helper image is used.")),
    f("paused", Same),
    f(
        "recoveryMode",
        Refused("Recovery after majority loss is a decision of a person; see the runbook."),
    ),
    f("version", Same),
    f("schedulerName", SameBut("Default: the cluster's scheduler, not tidb-scheduler.")),
    f(
        "pvReclaimPolicy",
        SameBut("Also per component. Says what happens to the claims; Recycle is not known."),
    ),
    f("imagePullPolicy", Same),
    f("imagePullSecrets", Same),
    f("configUpdateStrategy", SameBut("Default: RollingUpdate.")),
    f("enablePVReclaim", Renamed("spec.pvReclaimPolicy", "Set it to Delete.")),
    f("enablePVCReplace", Refused(LATER)),
    f("tlsCluster.enabled", SameBut("Not there yet: true is refused.")),
    f("tlsCluster.enableDiscoveryMTLS", Refused(NO_DISCOVERY)),
    f("hostNetwork", Same),
    f("affinity", Same),
    f("priorityClassName", Same),
    f("nodeSelector", Same),
    f("annotations", Same),
    f("labels", Same),
    f("tolerations", Same),
    f("dnsConfig", Same),
    f("dnsPolicy", Same),
    f("timezone", SameBut("Also per component.")),
    f("services", Renamed("spec.pd.service", "The list is deprecated there.")),
    f("enableDynamicConfiguration", Renamed("spec.configUpdateStrategy", "")),
    f("clusterDomain", SameBut("Immutable.")),
    f("acrossK8s", Renamed("spec.clusterDomain", "Addresses carry the domain once it is set.")),
    f("cluster", Renamed("spec.pdAddresses", "By address; not there yet.")),
    f("pdAddresses", SameBut("Not there yet: refused when set.")),
    f("statefulSetUpdateStrategy", Refused(NO_SET)),
    f("podManagementPolicy", Refused(NO_SET)),
    f("podSecurityContext", SameBut("Merged over the restricted default.")),
    f(
        "topologySpreadConstraints",
        SameBut("All of Kubernetes' fields; labelSelector is filled in."),
    ),
    f("startScriptVersion", Refused(NO_SCRIPT)),
    f("suspendAction.suspendStatefulSet", SameBut("Stops the pods; there is no StatefulSet.")),
    f("preferIPv6", Same),
    f("startScriptV2FeatureFlags", Refused(NO_SCRIPT)),
];

const COMPONENT: &[Field] = &[
    f("image", Renamed("spec.tikv.baseImage", "With version; deprecated there.")),
    f("version", Same),
    f("imagePullPolicy", Same),
    f("imagePullSecrets", Same),
    f("hostNetwork", Same),
    f("affinity", Same),
    f("priorityClassName", Same),
    f("schedulerName", Same),
    f("nodeSelector", Same),
    f("annotations", Same),
    f("labels", Same),
    f("tolerations", SameBut("Replaces the cluster-wide list.")),
    f("podSecurityContext", SameBut("Merged over the restricted default.")),
    f("configUpdateStrategy", Same),
    f("env", SameBut("Also cluster-wide, merged by name.")),
    f("envFrom", SameBut("Also cluster-wide.")),
    f("initContainers", SameBut("Also cluster-wide, merged by name.")),
    f(
        "additionalContainers",
        SameBut(
            "Also cluster-wide, merged by name. A container named after the component is refused: use podTemplate.",
        ),
    ),
    f("additionalVolumes", SameBut("Also cluster-wide, merged by name.")),
    f("additionalVolumeMounts", SameBut("Also cluster-wide, merged by mountPath.")),
    f("dnsConfig", Same),
    f("dnsPolicy", Same),
    f(
        "terminationGracePeriodSeconds",
        SameBut("Also cluster-wide. Default: 60 for PD, 120 for TiKV."),
    ),
    f("statefulSetUpdateStrategy", Refused(NO_SET)),
    f("podManagementPolicy", Refused(NO_SET)),
    f("topologySpreadConstraints", SameBut("Replaces the cluster-wide list.")),
    f("suspendAction", Same),
    f("securityContext", SameBut("Also cluster-wide; merged over the restricted default.")),
    f(
        "readinessProbe.initialDelaySeconds",
        SameBut(
            "Default: 0. The probe is TCP: PD answers its HTTP paths too late, and images need no curl, so there is no type.",
        ),
    ),
    f("readinessProbe.periodSeconds", SameBut("Default: 2.")),
    f("automountServiceAccountToken", SameBut("Also cluster-wide. Default: false.")),
];

const RESOURCES: &[Field] = &[
    f(
        "requests",
        SameBut("storage is the size of the data volume; default 10Gi for PD, 100Gi for TiKV."),
    ),
    f("limits", SameBut("storage is TiKV's capacity; refused for PD.")),
    f("claims", Renamed("spec.tikv.podTemplate", "A field of the pod.")),
];

const PD: &[Field] = &[
    f("serviceAccount", Same),
    f("replicas", SameBut("Default: 3.")),
    f("baseImage", Same),
    f("service", Same),
    f("maxFailoverCount", SameBut("Also cluster-wide. 0 turns the replacement off.")),
    f("storageClassName", SameBut("Also cluster-wide.")),
    f("volumeAttributesClassName", Refused(ATTRIBUTES)),
    f("storageVolumes", Same),
    f("dataSubDir", SameBut("Immutable.")),
    f("config", SameBut("A map or TOML. Keys that the operator owns are refused by name.")),
    f("tlsClientSecretName", Refused(DASHBOARD)),
    f("enableDashboardInternalProxy", Refused("Set dashboard.internal-proxy in config.")),
    f("mountClusterClientSecret", Refused(DASHBOARD)),
    f("startUpScriptVersion", Refused(NO_SCRIPT)),
    f("startTimeout", Refused(NO_SCRIPT)),
    f("initWaitTime", Refused(NO_SCRIPT)),
    f("mode", Refused("PD as micro-services is not there.")),
    f("spareVolReplaceReplicas", Refused(LATER)),
];

const TIKV: &[Field] = &[
    f("serviceAccount", Same),
    f("replicas", SameBut("Default: 3.")),
    f("baseImage", Same),
    f("privileged", Renamed("spec.tikv.securityContext", "privileged: true in it.")),
    f("maxFailoverCount", SameBut("Also cluster-wide. 0 turns the replacement off.")),
    f("separateRocksDBLog", Refused(LOG_TAIL)),
    f("separateRaftLog", Refused(LOG_TAIL)),
    f("rocksDBLogVolumeName", Refused(LOG_TAIL)),
    f("raftLogVolumeName", Refused(LOG_TAIL)),
    f("logTailer", Refused(LOG_TAIL)),
    f("storageClassName", SameBut("Also cluster-wide.")),
    f("volumeAttributesClassName", Refused(ATTRIBUTES)),
    f("dataSubDir", SameBut("Immutable.")),
    f("config", SameBut("A map or TOML. Keys that the operator owns are refused by name.")),
    f("recoverFailover", Refused("Replaced stores leave by themselves when the lost one is back.")),
    f(
        "failover.recoverByUID",
        Refused("Replaced stores leave by themselves when the lost one is back."),
    ),
    f("mountClusterClientSecret", Refused("Certificates come with tlsCluster.")),
    f("evictLeaderTimeout", SameBut("Without progress; default 10m instead of 1500m.")),
    f("waitLeaderTransferBackTimeout", SameBut("Without change.")),
    f("storageVolumes", Same),
    f("storeLabels", Same),
    f("enableNamedStatusPort", Refused("The status port always has the name status.")),
    f("scalePolicy.scaleInParallelism", Same),
    f("scalePolicy.scaleOutParallelism", Same),
    f("spareVolReplaceReplicas", Refused(LATER)),
];

const SERVICE: &[Field] = &[
    f("type", Same),
    f("annotations", Same),
    f("labels", Same),
    f("loadBalancerIP", Same),
    f("clusterIP", Same),
    f("portName", Same),
    f("port", Refused("TiKV and clients reach PD on 2379.")),
    f("loadBalancerSourceRanges", Same),
    f("loadBalancerClass", Same),
];

const VOLUME: &[Field] = &[
    f("name", Same),
    f("storageClassName", Same),
    f("storageSize", Same),
    f("mountPath", SameBut("Required.")),
    f("volumeAttributesClassName", Refused(ATTRIBUTES)),
];
