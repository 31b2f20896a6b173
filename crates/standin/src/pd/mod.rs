//! What answers as PD in the test suite? A small server over a real etcd; it is not TiKV's PD.
