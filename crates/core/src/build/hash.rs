//! How is a value hashed so that equal meanings give equal hashes?

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::settings::{self, Items};

/// JSON text with object keys sorted at every level: one text per meaning. `serde_json` keeps
/// the order of insertion here, so sorting is done by hand.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(elements) => {
            text.push('[');
            for (index, value) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

/// Digits of hashes of settings: 40 bits, enough to tell two values of one item apart.
const SETTING_DIGITS: usize = 10;

/// The hash of what a setting means.
pub(crate) fn of_setting(meaning: &str) -> String {
    hex(meaning, SETTING_DIGITS)
}

/// The hash of what all these settings mean.
pub(crate) fn of_items(items: &Items) -> String {
    let text = |(item, value)| format!("{item}={}", settings::canonical(value));
    let texts: Vec<String> = items.iter().map(text).collect();
    of_setting(&texts.join("\n"))
}

/// The first `digits` hexadecimal digits of the SHA-256 of `text`.
pub(crate) fn hex(text: &str, digits: usize) -> String {
    let mut hex = format!("{:x}", Sha256::digest(text.as_bytes()));
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_is_no_part_of_the_text_but_of_lists_it_is() {
        assert_eq!(
            canonical(&json!({"b": {"y": 1, "x": 2}, "a": []})),
            canonical(&json!({"a": [], "b": {"x": 2, "y": 1}}))
        );
        assert_ne!(canonical(&json!([1, 2])), canonical(&json!([2, 1])));
        assert_eq!(canonical(&json!({"a\"": "x\ny"})), r#"{"a\"":"x\ny"}"#);
    }

    #[test]
    fn the_hash_is_sha_256_cut_short() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(hex("abc", 16), "ba7816bf8f01cfea");
    }
}
