//! Names, labels, selector and owner of every child. Labels and annotations of the custom resource are never copied,
//! because tools that track objects by them (`GitOps`, Helm) would take the children for their own.

use std::{collections::BTreeMap, fmt::Write};

use crds::{HardenedService, MANAGER, SERVICE_LABEL};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use sha2::{Digest, Sha256};

/// Longest name of a child: the limit of a Service and of a label value.
const MAX_NAME: usize = 63;

/// What a child is part of, for the label `app.kubernetes.io/component`.
#[derive(Clone, Copy, Debug)]
pub enum Component {
    Workload,
    Network,
    Tls,
    Policy,
    Secrets,
    Job,
}

impl Component {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Policy => "policy",
            Self::Secrets => "secrets",
            Self::Job => "job",
        }
    }
}

/// Metadata of the child that carries the service's own name.
pub fn named_as_service(service: &HardenedService, component: Component) -> ObjectMeta {
    metadata(service, service.name_any(), component)
}

/// Metadata of the child `NAME-SUFFIX`.
pub fn named_with(service: &HardenedService, suffix: &str, component: Component) -> ObjectMeta {
    metadata(service, child_name(&service.name_any(), suffix), component)
}

fn metadata(service: &HardenedService, name: String, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: service.namespace(),
        labels: Some(labels(service, component)),
        owner_references: owner(service).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// None without a uid (rendered from a file): there is no owner yet, and the API server refuses an empty one.
fn owner(service: &HardenedService) -> Option<OwnerReference> {
    let owner = service.controller_owner_ref(&()).filter(|owner| !owner.uid.is_empty())?;
    Some(OwnerReference { block_owner_deletion: Some(true), ..owner })
}

/// Labels of a child, and with the workload's component those of its pods.
pub fn labels(service: &HardenedService, component: Component) -> BTreeMap<String, String> {
    let name = service.name_any();
    [
        ("app.kubernetes.io/component", component.as_str()),
        ("app.kubernetes.io/instance", &name),
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/name", &name),
        ("app.kubernetes.io/part-of", &name),
        (SERVICE_LABEL, &name),
    ]
    .map(|(key, value)| (key.into(), value.into()))
    .into()
}

/// Chooses the service's pods by exactly one label, which no other label of the pods can widen or narrow.
pub fn selector(service: &HardenedService) -> LabelSelector {
    LabelSelector { match_labels: Some(selected(service)), ..LabelSelector::default() }
}

/// The selector's labels alone.
pub fn selected(service: &HardenedService) -> BTreeMap<String, String> {
    BTreeMap::from([(SERVICE_LABEL.into(), service.name_any())])
}

/// `NAME-SUFFIX`, at most 63 bytes: a longer one is cut, and eight hex digits of its hash keep it unique. No uncut
/// name ends in those, because no suffix is eight hex digits.
pub fn child_name(name: &str, suffix: &str) -> String {
    let full = format!("{name}-{suffix}");
    if full.len() <= MAX_NAME {
        return full;
    }
    let mut cut = full[..full.floor_char_boundary(MAX_NAME - 9)].to_owned();
    cut.push('-');
    cut.push_str(&short_hash(&full, 4));
    cut
}

/// The first bytes of the SHA-256 of a text, hexadecimal.
pub fn short_hash(text: &str, bytes: usize) -> String {
    let mut hash = String::with_capacity(2 * bytes);
    for byte in Sha256::digest(text).iter().take(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_that_fits_is_kept() {
        assert_eq!(child_name("studio", "tls"), "studio-tls");
        assert_eq!(child_name(&"a".repeat(59), "tls").len(), 63);
        assert!(child_name(&"a".repeat(59), "tls").ends_with("a-tls"));
    }

    #[test]
    fn a_longer_name_is_cut_the_same_way_for_ever() {
        let name = "a".repeat(63);
        let names: Vec<_> = ["tls", "ca", "policy"].iter().map(|s| child_name(&name, s)).collect();
        let cut = "a".repeat(54);
        assert_eq!(names, [format!("{cut}-2df11b13"), format!("{cut}-4302f501"), format!("{cut}-36e2fb38")]);
    }

    #[test]
    fn long_names_that_differ_at_the_end_stay_apart() {
        let all: BTreeSet<_> = (b'a'..=b'z')
            .flat_map(|c| {
                let name = format!("{}{}", "a".repeat(62), char::from(c));
                ["tls", "ca", "policy"].map(|s| child_name(&name, s))
            })
            .collect();
        assert_eq!(all.len(), 78);
        assert!(all.iter().all(|n| n.len() == 63), "{all:?}");
    }
}
