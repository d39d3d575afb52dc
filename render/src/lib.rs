//! What the children of a `HardenedService` look like, and what its status says. Pure: no client, clock, RNG or I/O.

mod children;
mod facts;

pub use children::{Body, Child, Children, Kind, SecretPlan};
pub use facts::{Facts, Peer, Settings};
