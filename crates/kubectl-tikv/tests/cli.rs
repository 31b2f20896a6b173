//! Does the plugin answer as its examples say? `TRYCMD=overwrite` writes what it says now.

#[test]
fn examples() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
