//! The certificates that clients of the service should trust. It holds no key.

use std::collections::BTreeMap;

use crds::{HardenedService, SEAL_ANNOTATION};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::{
    Facts,
    meta::{self, Component},
};

pub fn ca_bundle(service: &HardenedService, facts: &Facts) -> ConfigMap {
    let mut metadata = meta::named_with(service, "ca", Component::Tls);
    if let Some(seal) = &facts.ca_bundle_seal {
        metadata.annotations = Some(BTreeMap::from([(SEAL_ANNOTATION.into(), seal.clone())]));
    }
    ConfigMap {
        metadata,
        data: Some(BTreeMap::from([("ca.crt".into(), facts.ca_bundle.clone())])),
        ..ConfigMap::default()
    }
}
