//! What the children of a `HardenedService` look like, and what its status says. Pure: no client, clock, RNG or I/O.

mod ca_bundle;
pub mod cert_manager;
mod certificate;
mod children;
mod cidr;
mod container;
pub mod database;
mod defaults;
mod deployment;
pub mod edge;
mod facts;
mod horizontal_pod_autoscaler;
pub mod hosts;
mod identity;
mod job;
pub mod login;
mod meta;
mod network_policy;
mod pod;
mod pod_disruption_budget;
mod policy;
mod probes;
mod quantity;
mod redis;
mod references;
mod replicas;
mod restarts;
mod scheduling;
pub mod secrets;
mod security;
mod service;
mod service_account;
mod status;
mod tls_secret;
mod vault_connection;
mod volumes;
mod workload;

pub use cert_manager::{AllowedIssuer, CertManagerSettings};
pub use certificate::{Certificate, issued_name, life};
pub use children::{Body, Child, Children, Kind, SecretPlan};
pub use container::variables;
pub use database::DatabaseJob;
pub use facts::{Facts, Jobs, Peer, Restarts, Settings};
pub use meta::child_name;
pub use references::{PROVIDED_CERTIFICATE, SOURCE, is_mounted, provided_certificate, referenced_secrets};
pub use replicas::replicas_are_fixed;
pub use restarts::Change;
pub use status::{Applied, Outcome, Problem, status};
pub use tls_secret::{restarts_on_renewal, tls_secret};
pub use vault_connection::{KubernetesAuth, VaultConnection, VaultKvEngines, VaultPkiEngine};
pub use workload::RESTARTED_AT;

use crds::HardenedService;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// Every child as it should be, with the API server's defaults written out, so that the operator compares by equality.
pub fn desired(service: &HardenedService, facts: &Facts) -> Children {
    Children {
        service_account: service_account::service_account(service),
        network_policy: network_policy::network_policy(service, facts),
        ca_bundle: ca_bundle::ca_bundle(service, facts),
        policy: policy::policy(service, facts),
        certificate: certificate::certificate(service, facts),
        tls_secret: tls_secret::tls_secret(service),
        secrets_before: secrets::before(service, facts),
        secrets: secrets::secret(service),
        deployment: deployment::deployment(service, facts),
        service: service::service(service),
        jobs_policy: network_policy::of_jobs(service, facts),
        login_secret: login::secret(service, facts),
        login: login::job(service, facts),
        database: database::job(service, facts),
        pod_disruption_budget: pod_disruption_budget::pod_disruption_budget(service, facts),
        horizontal_pod_autoscaler: horizontal_pod_autoscaler::horizontal_pod_autoscaler(service),
    }
}

/// The port on which the pods serve with their certificate.
pub fn https_port(service: &HardenedService) -> u16 {
    // The schema has 65535 at most.
    defaults::ports(service).0.try_into().unwrap_or_default()
}

/// Nothing instead of an empty list, map or text: the API server drops those.
fn some<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

/// Time serialises whole seconds only; a fraction would never equal itself read back.
pub fn whole_seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
