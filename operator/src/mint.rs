//! Second verb: let the issuer decide about the certificate, and complete the facts. Keys stay here until apply.

use std::sync::Arc;

use crds::HardenedService;
use k8s_openapi::jiff::Timestamp;
use render::Facts;

use crate::{
    Context,
    cache::Key,
    database,
    error::Error,
    issuer::{Case, Certificate, Issuer},
    keys::Keys,
    observe::Observed,
    secrets,
};

/// What a pass renders and applies.
pub struct Minted {
    /// Complete.
    pub facts: Facts,
    /// The certificate.
    pub certificate: Certificate,
    /// The values of `spec.secrets`, where the spec has it.
    pub values: Option<secrets::Decision>,
    /// The change of values for which the pods are restarted next.
    pub awaited: Option<secrets::Awaited>,
    /// What is to be done about the database, where the spec has one.
    pub database: Option<database::Decision>,
}

impl Minted {
    /// When the values or the database want a look.
    pub fn again(&self) -> Option<Timestamp> {
        let values = self.values.as_ref().and_then(|values| values.again);
        let database = self.database.as_ref().and_then(|database| database.again);
        values.into_iter().chain(database).min()
    }
}

/// Completes the facts and decides about the certificate.
pub async fn mint(
    ctx: &Context,
    keys: &Arc<Keys>,
    service: &HardenedService,
    key: &Key,
    observed: &Observed,
    now: Timestamp,
) -> Result<Minted, Error> {
    let case = Case { ctx, keys, service, key, facts: &observed.facts, now };
    let certificate = Issuer::of(service).certificate(&case).await?;
    let serial = certificate.status.as_ref().and_then(|status| status.serial.as_deref());
    let serial = serial.filter(|_| render::restarts_on_renewal(service));
    let values = secrets::decide(&case, serial).await?;
    let restart = values.as_ref().and_then(|values| values.restart.as_deref());
    let awaited = values.as_ref().and_then(|values| values.awaited(&case, serial));
    let database = database::decide(&case).await?;
    let longer = certificate.longer.as_ref();
    let facts = Facts {
        ca_bundle: longer.map_or(&certificate.ca_bundle, |longer| &longer.bundle).clone(),
        ca_bundle_seal: longer.map(|longer| longer.seal.clone()),
        restart_hash: secrets::restart_hash(keys, serial, restart),
        login: values.as_ref().and_then(|values| Some(values.login.as_ref()?.0.clone())),
        database: database.as_ref().and_then(|database| database.job.clone()),
        keeps_values_before: values.as_ref().is_some_and(secrets::Decision::keeps_before),
        ..observed.facts.clone()
    };
    Ok(Minted { facts, certificate, values, awaited, database })
}
