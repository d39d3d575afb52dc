//! Versions of objects, by which one look is told from another.

use kube::{Resource, ResourceExt};

/// Uid and resourceVersion: exactly one state of exactly one object.
pub type Version = (Option<String>, Option<String>);

/// The version of an object.
pub fn exactly(object: &impl Resource) -> Version {
    (object.uid(), object.resource_version())
}

/// How far along an object is: resourceVersions of one kind are numbers that grow (KEP-5504).
pub fn progress(object: &impl Resource) -> u128 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
