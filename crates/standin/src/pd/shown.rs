//! How do PD's objects look as JSON? What is zero or empty is left out, whole floats lose their
//! fraction, keys are upper-case hex.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// A message as Go's JSON has it: without fields that are zero, false or empty.
pub fn without_zeros(message: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(message).unwrap_or_default();
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    if let Value::Array(items) = value {
        items.iter_mut().for_each(strip);
    }
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(strip);
        fields.retain(|_, field| !is_zero(field));
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    }
}

/// A float as Go prints it: without a fraction when it has none.
pub fn float(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whole and small, checked before")]
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Value::from(value as i64);
    }
    Value::from(value)
}

/// Adds the fields of another object.
pub fn extend(shown: &mut Value, more: Value) {
    if let (Value::Object(shown), Value::Object(more)) = (shown, more) {
        shown.extend(more);
    }
}

/// Keys are shown in upper-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}
