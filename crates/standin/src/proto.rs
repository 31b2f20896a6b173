//! Where is the generated protocol code? Here, one module per protobuf package, with the lints of
//! the project off: the text comes from tonic's and prost's generators.

macro_rules! generated {
    ($($name:ident: $doc:literal),+ $(,)?) => {$(
        #[doc = $doc]
        #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
        }
    )+};
}

generated! {
    eraftpb: "Raft's configuration change types.",
    errorpb: "Region errors of TiKV's client protocol.",
    etcdserverpb: "etcd's client protocol.",
    kvrpcpb: "Requests of TiKV's client protocol.",
    metapb: "Stores, regions and peers.",
    pdpb: "PD's gRPC protocol.",
    standinpb: "What stand-in stores say to each other and write to disk.",
    tikvpb: "TiKV's gRPC service.",
}
