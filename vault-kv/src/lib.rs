//! What the operator and the api-server ask of a Vault in the same way: requests whose answers have a limit, and values of both
//! versions of the KV engine. It knows nothing of Kubernetes, keeps nothing and says nothing to users.

mod engine;
mod wire;

pub use engine::{Content, Engine, KvValue, Lack, Place, values};
pub use wire::{Auth, Fault, Wire};
