//! Prints the `CustomResourceDefinition` as YAML: `cargo run -p tikv-operator-api --example crd`.

fn main() {
    match serde_saphyr::to_string(&tikv_operator_api::crd()) {
        Ok(yaml) => print!("{yaml}"),
        Err(error) => eprintln!("{error}"),
    }
}
