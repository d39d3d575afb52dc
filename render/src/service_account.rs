//! The pods' identity. It never brings an API token: that would be a credential nobody asked for.

use crds::HardenedService;
use k8s_openapi::api::core::v1::ServiceAccount;

use crate::meta::{self, Component};

pub fn service_account(service: &HardenedService) -> ServiceAccount {
    ServiceAccount {
        metadata: meta::named_as_service(service, Component::Workload),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
