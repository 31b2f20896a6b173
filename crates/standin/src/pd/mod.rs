//! What answers as PD in the test suite? A small server of this project over a real etcd. It is a
//! fixture: it is **not** TiKV's PD, it schedules only what the suite needs, and it is not shipped.
//!
//! One member is one process: [`run`] starts etcd as a child ([`etcd_process`]), campaigns for the
//! leadership ([`campaign`]) and serves HTTP ([`http`]) and gRPC ([`grpc`]) on the client port.
//! What only the leader has is in [`lead`]; the cluster itself in [`cluster`].

pub mod balance;
pub mod campaign;
pub mod checkers;
pub mod cluster;
pub mod etcd;
pub mod etcd_process;
pub mod grpc;
pub mod http;
pub mod join;
pub mod lead;
pub mod operators;
pub mod options;
pub mod refusal;
pub mod region;
pub mod registry;
pub mod run;
pub mod schedulers;
pub mod server;
pub mod settings;
pub mod shown;
pub mod store;

pub use run::main;
