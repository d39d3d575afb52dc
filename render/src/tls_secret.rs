//! The plan of the TLS Secret. The values are minted by the operator and never seen here.

use crds::{HardenedService, TlsRestart};

use crate::{
    SecretPlan,
    meta::{self, Component},
};

/// The TLS Secret of a service, without values.
pub fn tls_secret(service: &HardenedService) -> SecretPlan {
    SecretPlan {
        metadata: meta::named_with(service, "tls", Component::Tls),
        type_: "kubernetes.io/tls",
        keys: ["ca.crt", "tls.crt", "tls.key"].map(Into::into).into(),
    }
}

/// Whether each new certificate restarts the pods.
pub fn restarts_on_renewal(service: &HardenedService) -> bool {
    service.spec.tls.as_ref().and_then(|tls| tls.restart) == Some(TlsRestart::OnRenew)
}
