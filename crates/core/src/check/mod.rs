//! Is a spec one that can be built, and what is the way out where it is not?

mod rejection;

pub use rejection::{Problem, Rejection};
