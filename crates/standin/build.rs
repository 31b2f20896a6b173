//! How do the `.proto` files become Rust without `protoc`? `protox` reads them, tonic's build
//! crate writes server and client code into `OUT_DIR`.

use std::error::Error;

const PROTOS: [&str; 7] =
    ["pdpb", "keyspacepb", "tikvpb", "errorpb", "etcdserverpb", "standinpb", "grpc_health"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = PROTOS.map(|name| format!("proto/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
