//! Which pieces of schema recur, and within which bounds?
//!
//! Every string, list and map that a CEL rule can see is bounded: the API server refuses rules
//! whose worst-case cost it cannot bound. Kubernetes' own types are `preserve-unknown-fields`: they
//! are as large as the rest of the schema together, and a dry-run create checks them better.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A Kubernetes resource quantity as a string: number and suffix. No negative one makes sense here.
pub const QUANTITY: &str = r"^\+?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";
/// A duration in Go's notation, without sign: `90s`, `10m`, `1h30m`.
pub const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// A tag of a container image.
pub const TAG: &str = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$";
/// A repository of container images, without tag and digest.
pub const REPOSITORY: &str = r"^(((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)(:[0-9]{1,5})?|[A-Za-z0-9-]+:[0-9]{1,5})/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$";
/// A DNS label (RFC 1123).
pub const DNS_LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS subdomain (RFC 1123), the form of most object names.
pub const DNS_SUBDOMAIN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The value of a label.
pub const LABEL_VALUE: &str = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/// A directory name below a volume: relative, no `..`.
pub const SUB_DIR: &str = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$";
/// An absolute path without empty, `.` or `..` parts.
pub const ABSOLUTE_PATH: &str = r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$";

/// A quantity: an integer or a string such as `500m`, `10Gi`.
pub fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": 0,
        "maxLength": 32,
        "pattern": QUANTITY,
    })
}

/// Resource name -> quantity.
pub fn quantities(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": quantity(generator),
    })
}

/// A duration, see [`DURATION`].
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 32, "pattern": DURATION})
}

/// Node labels, label values: at most 63 characters each.
pub fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
    })
}

/// Annotations: long values are allowed.
pub fn annotation_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 16384},
    })
}

/// An object of a Kubernetes type, passed through.
pub fn raw(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Anything: the type is checked by the operator (a map or a TOML string).
pub fn config(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// A list of objects of a Kubernetes type, passed through, replaced as a whole.
pub fn raws(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "x-kubernetes-list-type": "atomic",
    })
}

/// A list of objects of a Kubernetes type that are known by their `name`.
pub fn named(_: &mut SchemaGenerator) -> Schema {
    keyed("name", 64, &json_schema!({"type": "string", "minLength": 1, "maxLength": 253}))
}

/// A list of volume mounts, known by their path.
pub fn mounts(_: &mut SchemaGenerator) -> Schema {
    keyed("mountPath", 32, &json_schema!({"type": "string", "minLength": 1, "maxLength": 512}))
}

/// A list of references to objects of the same namespace.
pub fn references(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": DNS_SUBDOMAIN},
            },
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

fn keyed(key: &str, max: u32, property: &Schema) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": max,
        "items": {
            "type": "object",
            "required": [key],
            "properties": {key: property},
            "x-kubernetes-preserve-unknown-fields": true,
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [key],
    })
}
