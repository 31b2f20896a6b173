//! Which facts follow from what the API server stores?
//!
//! Pure conversions from Kubernetes JSON. The operator, the plugin and the simulator read objects
//! through here and nowhere else, so they cannot disagree about what an object says.

mod belongings;
mod node;
mod object;
mod pod;
mod quantity;
mod resource;
pub(crate) mod text;
mod trim;
mod volume;

#[cfg(test)]
mod tests;

pub use belongings::{Belongings, Owner, missing_claims, owner_words};
pub use node::node_facts;
pub use object::object_facts;
pub use pod::pod_facts;
pub use quantity::bytes;
pub use resource::resource_facts;
pub use trim::trim;
pub use volume::volume_facts;
