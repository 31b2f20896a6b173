//! How do the `.proto` files become Rust without `protoc`? `protox` reads them, tonic's build
//! crate writes server and client code into `OUT_DIR`.

use std::error::Error;

const PROTOS: [&str; 5] = ["pdpb", "tikvpb", "errorpb", "etcdserverpb", "standinpb"];

/// What the HTTP APIs show as JSON.
const SHOWN: [&str; 11] = [
    "standinpb.PeerState",
    "metapb.Region",
    "metapb.RegionEpoch",
    "metapb.Store",
    "metapb.StoreLabel",
    "metapb.Peer",
    "pdpb.Member",
    "pdpb.GetMembersResponse",
    "pdpb.ResponseHeader",
    "pdpb.Error",
    "pdpb.SlowTrend",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = PROTOS.map(|name| format!("proto/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let mut build = tonic_prost_build::configure();
    for shown in SHOWN {
        build = build.type_attribute(shown, "#[derive(serde::Serialize)]");
    }
    build.compile_fds(descriptors)?;
    Ok(())
}
