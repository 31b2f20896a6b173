//! Does `docs/versions.md` name every path that is called?

use std::collections::BTreeSet;

/// The part of a source before its tests.
fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or_default()
}

/// A path as the page writes it: without PD's first prefix and its parameters, and with every blank
/// called the same.
fn spelled(path: &str) -> String {
    let path = path.trim_start_matches("{V1}").trim_start_matches("/pd/api/v1");
    let path = path.split('?').next().unwrap_or_default();
    let mut parts = path.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |path, part| path + "{}" + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// The literals of a source that are paths.
fn called(source: &str) -> BTreeSet<String> {
    let source = without_tests(source).replace("\\\"", "");
    let literals = source.split('"').skip(1).step_by(2);
    let paths = literals.filter(|text| text.starts_with('/') || text.starts_with("{V1}/"));
    paths.map(spelled).filter(|path| !path.is_empty()).collect()
}

#[test]
fn every_path_that_is_called_is_on_the_page_of_versions() {
    let page = include_str!("../../../../docs/versions.md");
    let words = page.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
    let named: BTreeSet<String> = words.filter(|word| word.starts_with('/')).map(spelled).collect();
    for (file, source, least) in [
        ("pd/client.rs", include_str!("client.rs"), 17),
        ("pd/write.rs", include_str!("write.rs"), 8),
        ("store.rs", include_str!("../store.rs"), 2),
    ] {
        let called = called(source);
        assert!(called.len() >= least, "{file}: only {called:?} is found");
        let missing: Vec<_> = called.difference(&named).collect();
        assert!(missing.is_empty(), "docs/versions.md does not name {missing:?} of {file}");
    }
}
