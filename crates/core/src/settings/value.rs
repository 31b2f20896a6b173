//! What does a value mean, whatever its spelling?
//!
//! PD and TiKV print other texts than they were given: `"1024MiB"` comes back as `"1GiB"`, `"30m"` as
//! `"30m0s"`, PD's truths as `"true"` and its lists as `"zone,host"`. Types are not known here, so
//! the text is read as what it looks like: a size is its bytes, a duration its nanoseconds.

use serde_json::Value;

/// One text per meaning. Two values with the same text are the same to PD and TiKV; two values that
/// cannot be compared have different texts.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => number.to_string(),
            (None, Some(number), _) => number.to_string(),
            (None, None, Some(number)) => float(number),
            (None, None, None) => number.to_string(),
        },
        Value::String(text) => of_text(text.trim()),
        Value::Array(list) => list.iter().map(canonical).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(key, value)| format!("{key}={}", canonical(value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(";"))
        }
    }
}

/// The value as PD takes it. Where PD shows a truth or a list as text it takes text only: JSON of the
/// value's own kind is refused (`json:"…,string"` and `typeutil.StringSlice` in PD v8.5.7's
/// `server/config`, and as a real one answered). Elsewhere, as under `keyspace`, it wants that kind.
pub fn as_shown(value: &Value, shown: &Value) -> Value {
    match (value, shown) {
        (Value::Bool(truth), Value::String(_)) => Value::from(truth.to_string()),
        (Value::Array(list), Value::String(_)) => {
            let text =
                |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Value::from(list.iter().map(text).collect::<Vec<_>>().join(","))
        }
        _ => value.clone(),
    }
}

/// Integral floats print as integers: JSON does not tell `1` from `1.0` for certain.
fn float(number: f64) -> String {
    format!("{number}")
}

fn of_text(text: &str) -> String {
    if text.contains(',') {
        let parts: Vec<_> = text.split(',').map(|part| of_text(part.trim())).collect();
        return parts.join(",");
    }
    let word = text.to_lowercase();
    if word == "true" || word == "false" {
        return word;
    }
    // Both are names of one level of TiKV's and PD's loggers.
    if word == "warning" {
        return "warn".to_owned();
    }
    if let Some(number) = number(text) {
        return number;
    }
    if let Some(nanoseconds) = duration(text) {
        return if nanoseconds == 0 { "0".to_owned() } else { format!("{nanoseconds}ns") };
    }
    size(text).map_or_else(|| text.to_owned(), |bytes| bytes.to_string())
}

fn number(text: &str) -> Option<String> {
    if let Ok(number) = text.parse::<i128>() {
        return Some(number.to_string());
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = if digits { text.parse::<f64>().ok() } else { None };
    number.map(float)
}

/// Nanoseconds of `1h30m0s`, `10000ms`, `1.5h`, `2d`.
fn duration(text: &str) -> Option<u128> {
    let mut rest = text;
    let mut sum: u128 = 0;
    while !rest.is_empty() {
        let (amount, after) = amount(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        sum = sum.checked_add(scaled(amount, nanoseconds(unit)?)?)?;
        rest = next;
    }
    if text.is_empty() { None } else { Some(sum) }
}

/// One unit of a duration as Go and TiKV write it.
fn nanoseconds(unit: &str) -> Option<u128> {
    const SECOND: u128 = 1_000_000_000;
    match unit {
        "ns" => Some(1),
        "us" | "µs" | "μs" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(SECOND),
        "m" => Some(60 * SECOND),
        "h" => Some(3_600 * SECOND),
        "d" => Some(86_400 * SECOND),
        "w" => Some(604_800 * SECOND),
        _ => None,
    }
}

/// Bytes of a size as PD and TiKV print it: `64MiB`, `1.5TiB`, `0B`, or a bare number.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| size(text).and_then(|bytes| u64::try_from(bytes).ok()))
}

/// Bytes of `1GiB`, `64MB`, `8K`. PD and TiKV take decimal units for binary ones.
fn size(text: &str) -> Option<u128> {
    let (amount, unit) = amount(text)?;
    let unit = unit.trim().to_uppercase();
    let letter = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
    let power = match letter {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        _ => return None,
    };
    scaled(amount, 1_u128 << (10 * power))
}

/// The number at the start, as digits before and after the point, and what follows it.
fn amount(text: &str) -> Option<((&str, &str), &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || rest.is_empty() { None } else { Some(((whole, part), rest)) }
}

/// `amount` times `scale`, exactly; fractions below one are dropped.
fn scaled((whole, part): (&str, &str), scale: u128) -> Option<u128> {
    let whole = whole.parse::<u128>().ok()?.checked_mul(scale)?;
    if part.is_empty() {
        return Some(whole);
    }
    let denominator = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = part.parse::<u128>().ok()?.checked_mul(scale)?.checked_div(denominator)?;
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spellings_of_one_value_are_one() {
        for (one, other) in [
            (json!("1GiB"), json!("1024MiB")),
            (json!("64MB"), json!("64MiB")),
            (json!("1.5G"), json!("1536MiB")),
            (json!("8KiB"), json!(8192)),
            (json!("10s"), json!("10000ms")),
            (json!("30m"), json!("30m0s")),
            (json!("1d"), json!("24h0m0s")),
            (json!("1w"), json!("168h0m0s")),
            (json!("1.5h"), json!("1h30m")),
            (json!("0s"), json!("0")),
            (json!("500us"), json!("500µs")),
            (json!("true"), json!(true)),
            (json!("False"), json!(false)),
            (json!(["zone", "host"]), json!("zone, host")),
            (json!("4"), json!(4)),
            (json!(4.0), json!(4)),
            (json!(0.8), json!("0.8")),
            (json!("warning"), json!("warn")),
            (json!(null), json!("")),
            (json!({"a": "1s", "b": 1}), json!({"b": 1, "a": "1000ms"})),
        ] {
            assert_eq!(canonical(&one), canonical(&other), "{one} {other}");
        }
    }

    #[test]
    fn pd_takes_what_it_shows_as_text_as_text() {
        for (value, shown, taken) in [
            (json!(true), json!("false"), json!("true")),
            (json!(["zone", "host"]), json!(""), json!("zone,host")),
            (json!([]), json!("zone"), json!("")),
            (json!([1, 2]), json!("1"), json!("1,2")),
            (json!(true), json!(false), json!(true)),
            (json!(["a"]), json!([]), json!(["a"])),
            (json!(8), json!(4), json!(8)),
            (json!("30m"), json!("1h0m0s"), json!("30m")),
        ] {
            assert_eq!(as_shown(&value, &shown), taken, "{value} for {shown}");
        }
    }

    #[test]
    fn sizes_as_pd_prints_them() {
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
            assert_eq!(bytes(text), want, "{text}");
        }
    }

    #[test]
    fn different_values_stay_different() {
        for (one, other) in [
            (json!("10s"), json!("10ms")),
            (json!("10m"), json!("10M")),
            (json!("1s"), json!(1)),
            (json!("1GiB"), json!("1TiB")),
            (json!(1), json!(2)),
            (json!(0.8), json!(0.81)),
            (json!("a"), json!("b")),
            (json!("v1"), json!("v2")),
            (json!("zone,host"), json!("host,zone")),
            (json!(true), json!(1)),
            (json!("8.5.7"), json!("8.5.70")),
            (json!(""), json!("0")),
            (json!("99999999999999999999999999999999999999999P"), json!("1P")),
        ] {
            assert_ne!(canonical(&one), canonical(&other), "{one} {other}");
        }
    }
}
