//! What the platform lets services use of cert-manager. A tenant who may write `HardenedServices` only must not get at an
//! issuer that nobody meant for him, so whatever is not listed is never asked for.

use crds::{HardenedService, IssuerKind, IssuerRef};
use serde::{Deserialize, Serialize};

use crate::{Facts, Settings, hosts};

/// Group of cert-manager's own issuers.
const GROUP: &str = "cert-manager.io";

/// The platform's settings for cert-manager.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CertManagerSettings {
    /// Issuers that services may name; none when empty.
    pub issuers: Vec<AllowedIssuer>,
}

/// An issuer that services may name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedIssuer {
    /// Issuer means one of that name in each service's own namespace.
    pub kind: IssuerKind,
    /// Its name.
    pub name: String,
    /// Its API group.
    #[serde(default = "group")]
    pub group: String,
    /// Whether it signs public names only, as ACME does: then the names of the cluster are not asked for.
    #[serde(default)]
    pub host_names_only: bool,
}

fn group() -> String {
    GROUP.into()
}

/// The issuer that the spec names, if it names one of cert-manager.
pub fn issuer_ref(service: &HardenedService) -> Option<&IssuerRef> {
    let issuer = service.spec.tls.as_ref()?.issuer.as_ref()?;
    issuer.cert_manager.as_ref().map(|cert_manager| &cert_manager.issuer_ref)
}

/// The same with its defaults: kind, name and group.
pub fn named(issuer: &IssuerRef) -> (IssuerKind, &str, &str) {
    (issuer.kind.unwrap_or_default(), &issuer.name, issuer.group.as_deref().unwrap_or(GROUP))
}

/// The platform's word for the issuer that the spec names.
pub fn allowed<'a>(service: &HardenedService, settings: &'a Settings) -> Option<&'a AllowedIssuer> {
    let wanted = named(issuer_ref(service)?);
    settings.cert_manager.issuers.iter().find(|issuer| (issuer.kind, &*issuer.name, &*issuer.group) == wanted)
}

/// The names that the issuer is asked for.
pub fn names(service: &HardenedService, facts: &Facts) -> Vec<String> {
    match allowed(service, &facts.settings) {
        Some(issuer) if issuer.host_names_only => hosts::client_names(service, facts),
        _ => hosts::certificate_names(service, facts),
    }
}
