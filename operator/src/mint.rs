//! Second verb: let the issuer decide about the certificate, and complete the facts. Keys stay here until apply.

use crds::HardenedService;
use k8s_openapi::jiff::Timestamp;
use render::Facts;

use crate::{
    Context,
    cache::Key,
    error::Error,
    issuer::{Case, Certificate, Issuer},
    observe::Observed,
};

/// Completes the facts and decides about the certificate.
pub async fn mint(
    ctx: &Context,
    service: &HardenedService,
    key: &Key,
    observed: &Observed,
    now: Timestamp,
) -> Result<(Facts, Certificate), Error> {
    let case = Case { ctx, service, key, facts: &observed.facts, now };
    let certificate = Issuer::of(service).certificate(&case).await?;
    let facts = Facts {
        ca_bundle: certificate.ca_bundle.clone(),
        restart_hash: ctx.keys.restart_hash(&[]),
        ..observed.facts.clone()
    };
    Ok((facts, certificate))
}
