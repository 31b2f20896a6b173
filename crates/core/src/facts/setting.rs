//! Does a live configuration say what was wanted?
//!
//! PD and TiKV write values their own way: durations as `30m0s`, sizes as `64MiB` (their `MB` is
//! 2^20 too), PD booleans as `"true"` and lists as one comma string. Two spellings of one value are
//! no difference.

use std::borrow::Cow;

use serde_json::Value;

/// The value of the flat key `item` (`schedule.leader-schedule-limit`) in a configuration as
/// `GET /config` answers it, nested. A key without a section is found as PD finds it when it is
/// set: by its last part, where only one section has it.
pub fn setting<'a>(config: &'a Value, item: &str) -> Option<&'a Value> {
    let nested = item.split('.').try_fold(config, |at, part| at.get(part));
    nested.or_else(|| {
        let sections = config.as_object()?.values();
        let mut found = sections.filter_map(|section| section.as_object()?.get(item));
        let first = found.next();
        first.filter(|_| found.next().is_none())
    })
}

/// Is `live` what was wanted, whatever the spelling? Of a map only what is wanted is compared.
pub fn same_setting(wanted: &Value, live: &Value) -> bool {
    if wanted == live {
        return true;
    }
    if let (Some(wanted), Some(live)) = (wanted.as_object(), live.as_object()) {
        let same = |(key, value): (&String, &Value)| {
            live.get(key).is_some_and(|live| same_setting(value, live))
        };
        return wanted.iter().all(same);
    }
    match (plain(wanted), plain(live)) {
        (Some(wanted), Some(live)) => {
            wanted == live
                || both(&wanted, &live, number)
                || both(&wanted, &live, nanoseconds)
                || both(&wanted, &live, size)
        }
        (None, _) | (_, None) => false,
    }
}

fn both<T: PartialEq>(one: &str, other: &str, read: impl Fn(&str) -> Option<T>) -> bool {
    match (read(one), read(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => false,
    }
}

/// A scalar, or a list of scalars as PD joins them.
fn plain(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.trim())),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        Value::Array(list) => {
            let parts: Option<Vec<_>> = list.iter().map(plain).collect();
            Some(Cow::Owned(parts?.join(",")))
        }
        Value::Null => Some(Cow::Borrowed("")),
        Value::Object(_) => None,
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A duration of Go or TiKV: `1h30m`, `500ms`, `30m0s`.
fn nanoseconds(text: &str) -> Option<u128> {
    const UNITS: [(&str, u128); 9] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
        ("w", 604_800_000_000_000),
    ];
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (amount, after) = rest.split_at(rest.find(|c: char| !is_number(c))?);
        let end = after.find(is_number).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(amount, *factor)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

/// Bytes of a size as PD and TiKV write it: `64MiB`, `1.5TiB`, `96MB` (binary, as they read it),
/// `0B`, or a bare number.
pub fn size(text: &str) -> Option<u64> {
    const UNITS: [&str; 6] = ["", "K", "M", "G", "T", "P"];
    let text = text.trim();
    let end = text.find(|c: char| !is_number(c)).unwrap_or(text.len());
    let (amount, unit) = text.split_at(end);
    let prefix = unit.trim().trim_end_matches('B').trim_end_matches('i').to_ascii_uppercase();
    let power = UNITS.iter().position(|known| *known == prefix)?;
    let factor = 1024_u128.checked_pow(u32::try_from(power).ok()?)?;
    u64::try_from(scaled(amount, factor)?).ok()
}

fn is_number(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

/// A decimal number times `factor`, rounded down.
fn scaled(amount: &str, factor: u128) -> Option<u128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let below = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(digits.checked_mul(factor)? / below)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_setting_is_found_by_its_flat_key() {
        let config = json!({
            "schedule": { "limit": 4, "shared": 1 }, "replication": { "max-replicas": 3, "shared": 2 },
            "rocksdb": { "defaultcf": { "block-size": "64KiB" } }, "lease": 5,
        });
        for (item, want) in [
            ("schedule.limit", Some(json!(4))),
            ("rocksdb.defaultcf.block-size", Some(json!("64KiB"))),
            ("max-replicas", Some(json!(3))),
            ("lease", Some(json!(5))),
            ("shared", None),
            ("schedule.none", None),
            ("lease.below", None),
        ] {
            assert_eq!(setting(&config, item), want.as_ref(), "{item}");
        }
    }

    #[test]
    fn spellings_of_one_value_are_the_same() {
        for (wanted, live) in [
            (json!("30m"), json!("30m0s")),
            (json!("1h30m"), json!("90m")),
            (json!("1500ms"), json!("1.5s")),
            (json!("64MB"), json!("64MiB")),
            (json!("1GB"), json!("1GiB")),
            (json!("1024MiB"), json!("1GiB")),
            (json!(true), json!("true")),
            (json!("4"), json!(4)),
            (json!(0.80), json!(0.8)),
            (json!(1.0), json!(1)),
            (json!(["zone", "host"]), json!("zone,host")),
            (json!({ "a": "1s" }), json!({ "a": "1000ms", "b": 2 })),
            (json!([]), json!("")),
        ] {
            assert!(same_setting(&wanted, &live), "{wanted} {live}");
        }
    }

    #[test]
    fn other_values_are_not() {
        for (wanted, live) in [
            (json!("30m"), json!("30s")),
            (json!("30m"), json!("30")),
            (json!("64MB"), json!("65MiB")),
            (json!(true), json!("false")),
            (json!(4), json!(5)),
            (json!("zone"), json!("zone,host")),
            (json!({ "a": 1 }), json!({ "b": 1 })),
            (json!({ "a": 1 }), json!(1)),
            (json!("info"), json!("warn")),
            (json!("m"), json!("")),
        ] {
            assert!(!same_setting(&wanted, &live), "{wanted} {live}");
        }
    }

    #[test]
    fn sizes_as_pd_writes_them() {
        for (text, want) in [
            ("100GiB", Some(100 << 30)),
            ("1.5TiB", Some(3 << 39)),
            ("0B", Some(0)),
            ("512", Some(512)),
            ("96MB", Some(96 << 20)),
            ("", None),
            ("GiB", None),
            ("-1GiB", None),
            ("10XiB", None),
        ] {
            assert_eq!(size(text), want, "{text}");
        }
    }
}
