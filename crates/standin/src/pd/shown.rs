//! How do PD's objects look as JSON? What is zero or empty is left out, whole floats lose their
//! fraction, keys are upper-case hex.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// An object of those fields that are neither zero, false nor empty.
pub fn without_zeros<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let is_zero = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    };
    let kept = fields.into_iter().filter(|(_, value)| !is_zero(value));
    Value::Object(kept.map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

/// A float as Go prints it: without a fraction when it has none.
pub fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whole and small, checked before")]
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Value::from(value as i64);
    }
    Value::from(value)
}

/// Keys are shown in upper-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}
