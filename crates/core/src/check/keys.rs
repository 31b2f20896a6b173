//! Which keys may labels, annotations and node selectors have?

use std::collections::BTreeMap;

use tikv_operator_api::labels;

use super::problems::Problems;

/// Labels of a pod or Service.
pub(super) fn labels(map: &BTreeMap<String, String>, path: &str, problems: &mut Problems) {
    for (key, value) in map {
        let field = format!("{path}.{key}");
        if labels::is_reserved(key) {
            problems.broken(field, "labels-reserved");
        } else if let Some(sentence) = malformed(key) {
            problems.reject(field, sentence);
        } else if !is_value(value) {
            problems.reject(field, format!(
                "Is {value:?}, which is not a label value (at most 63 letters, digits, -, _ and \
                 dots, first and last a letter or digit)."
            ));
        }
    }
}

/// Annotations of a pod or Service.
pub(super) fn annotations(map: &BTreeMap<String, String>, path: &str, problems: &mut Problems) {
    for key in map.keys() {
        let field = format!("{path}.{key}");
        if key.starts_with(labels::PREFIX) {
            problems.broken(field, "annotations-reserved");
        } else if let Some(sentence) = malformed(key) {
            problems.reject(field, sentence);
        }
    }
}

/// Node labels that are asked for: any well-formed key.
pub(super) fn selectors(map: &BTreeMap<String, String>, path: &str, problems: &mut Problems) {
    for (key, value) in map {
        let field = format!("{path}.{key}");
        if let Some(sentence) = malformed(key) {
            problems.reject(field, sentence);
        } else if !is_value(value) {
            problems.reject(field, format!("Is {value:?}, which is not a label value."));
        }
    }
}

/// What is wrong with a qualified name `[prefix/]name`, the form of every key.
pub(super) fn malformed(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let good_prefix = prefix.is_none_or(|p| p.len() <= 253 && is_subdomain(p));
    if good_prefix && !name.is_empty() && is_value(name) {
        return None;
    }
    Some(format!(
        "The key {key:?} is not of the form [prefix/]name (a DNS name, then at most 63 letters, \
         digits, -, _ and dots). Correct the key."
    ))
}

fn is_value(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(inner)
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
}

/// Is this a DNS subdomain (RFC 1123)?
pub(super) fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

/// Is this a DNS label (RFC 1123)?
pub(super) fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_qualified_names() {
        for good in ["a", "a.b/c", "A_b-c.d", "kubernetes.io/x"] {
            assert_eq!(malformed(good), None, "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a/b/c", "ä", "-a", "a-", "A.b/c", "a b", &"x".repeat(64)]
        {
            assert!(malformed(bad).is_some(), "{bad}");
        }
    }
}
