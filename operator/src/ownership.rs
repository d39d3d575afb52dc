//! Whose object is it? Ours only by controller reference with the live uid, or by the uid that status remembers.

use crds::HardenedService;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Whether an object with this metadata is a child of this very service. Labels and names prove nothing (V3, C4, C5).
pub fn is_ours(metadata: &ObjectMeta, service: &HardenedService) -> bool {
    let controller = metadata.owner_references.iter().flatten().find(|r| r.controller == Some(true));
    if let Some(reference) = controller {
        return Some(&reference.uid) == service.metadata.uid.as_ref();
    }
    // The reference was stripped: status still knows the uid, and a uid is never used twice.
    let mut known = service.status.iter().flat_map(|s| &s.children).filter_map(|c| c.uid.as_ref());
    metadata.uid.as_ref().is_some_and(|uid| known.any(|k| k == uid))
}
