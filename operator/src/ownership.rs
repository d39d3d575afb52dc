//! Whose object is it? Ours only by controller reference with the live uid, or by the uid that status remembers.

use crds::HardenedService;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

/// Whether an object with this metadata is a child of this very service. Labels and names prove nothing (V3, C4, C5).
pub fn is_ours(metadata: &ObjectMeta, service: &HardenedService) -> bool {
    if let Some(reference) = controller(metadata) {
        return Some(&reference.uid) == service.metadata.uid.as_ref();
    }
    // The reference was stripped: status still knows the uid, and a uid is never used twice.
    let mut known = service.status.iter().flat_map(|s| &s.children).filter_map(|c| c.uid.as_ref());
    metadata.uid.as_ref().is_some_and(|uid| known.any(|k| k == uid))
}

/// The same by the reference alone, for a service of which nothing but metadata may be readable.
pub fn is_controlled_by(metadata: &ObjectMeta, service: &impl Resource) -> bool {
    let uid = service.meta().uid.as_ref();
    controller(metadata).is_some_and(|reference| Some(&reference.uid) == uid)
}

fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|reference| reference.controller == Some(true))
}
