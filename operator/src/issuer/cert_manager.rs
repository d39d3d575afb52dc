//! An issuer of cert-manager: apply makes the Certificate, cert-manager writes a Secret for it, and that one is checked
//! and copied like a user's. Neither writes what the other writes, so they never undo each other.

mod conditions;
mod words;

use crds::{IssuerRef, Reason};
use k8s_openapi::{api::core::v1::Secret, jiff::SignedDuration};
use kube::{Api, core::DynamicObject};
use render::{Kind, Problem, cert_manager::named};

use super::{
    Case, Certificate, Plan, kept,
    secret::{self, Issued},
};
use crate::{error::Error, observe::TlsSecret, ownership::is_ours, watch::State};

/// Annotation of a Secret with the Certificate that it was written for.
const CERTIFICATE_NAME: &str = "cert-manager.io/certificate-name";

/// How soon a Certificate that is being made is looked at.
const MADE: SignedDuration = SignedDuration::from_secs(1);

/// What the spec names, and the service that wants a certificate of it.
pub struct Source<'a> {
    pub case: &'a Case<'a>,
    pub reference: &'a IssuerRef,
}

impl Source<'_> {
    /// Decides about the certificate.
    pub async fn certificate(&self) -> Result<Certificate, Error> {
        let Case { ctx, service, key, .. } = self.case;
        if render::cert_manager::allowed(service, &ctx.settings).is_none() {
            return kept::stay(self.case, self.not_allowed(), None).await;
        }
        let name = render::issued_name(service);
        let live = ctx.cache.get(Kind::Certificate, &key.namespace, &name);
        let live = live.filter(|live| is_ours(&live.metadata, service));
        let unasked = match ctx.watches.state(Kind::Certificate.as_str(), &key.namespace) {
            Some(State::Absent) => Some(words::missing()),
            _ if live.is_some() => None,
            _ => self.taken(&name).await?,
        };
        let said = live.as_deref().map(conditions::said);
        let is_ready = said.as_ref().is_some_and(|said| said.is_ready);
        let trouble = unasked.clone().or_else(|| match &said {
            None => Some(self.not_ready("it is being made")),
            Some(said) => said.trouble.as_ref().map(|words| self.not_ready(words)),
        });
        let issued = Some(&self.issued(&name, live.as_deref()));
        let judged = secret::Source { case: self.case, name: &name, issued }.certificate().await?;
        // The answer to its POST starts no pass, and before cert-manager looks at it nothing else does.
        let again =
            (said.is_none() && unasked.is_none()).then(|| self.case.now.checked_add(MADE).ok()).flatten();
        let weighed = self.weigh(judged, trouble, is_ready);
        Ok(Certificate { unasked, again: weighed.again.into_iter().chain(again).min(), ..weighed })
    }

    /// Until the Certificate is ready its Secret may be what another one of that name left there: then only what is in use
    /// already stays good. As long as it is, the trouble is told and no more.
    fn weigh(&self, judged: Certificate, trouble: Option<Problem>, is_ready: bool) -> Certificate {
        match trouble {
            None => judged,
            Some(_) if judged.problem.is_none() && (is_ready || self.is_in_use(&judged)) => {
                Certificate { warning: trouble, ..judged }
            }
            Some(problem) => kept::keep(self.case, judged.found, problem, judged.again),
        }
    }

    fn is_in_use(&self, judged: &Certificate) -> bool {
        match (&judged.plan, &judged.found) {
            (Plan::Keep(_), _) => true,
            (Plan::Content(content), TlsSecret::Read(secret)) => kept::own_content(self.case, secret)
                .is_some_and(|own| own.content.values.data() == content.values.data()),
            _ => false,
        }
    }

    /// cert-manager would write over a Secret of that name, whoever made it: so a service must not get its name there.
    async fn taken(&self, name: &str) -> Result<Option<Problem>, Error> {
        let Case { ctx, key, .. } = self.case;
        let metadata = if let Some(secret) = ctx.cache.get(Kind::Secret, &key.namespace, name) {
            Some(secret.metadata.clone())
        } else {
            // The watch shows labelled ones only.
            let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &key.namespace);
            api.get_metadata_opt(name).await?.map(|secret| secret.metadata)
        };
        let of_others = metadata.is_some_and(|metadata| {
            metadata.annotations.unwrap_or_default().get(CERTIFICATE_NAME).is_none_or(|of| of != name)
        });
        Ok(of_others.then(|| self.occupied(name)))
    }

    fn issued(&self, name: &str, live: Option<&DynamicObject>) -> Issued {
        let (kind, issuer, group) = named(self.reference);
        let renew_at = live.and_then(|live| live.data.pointer("/status/renewalTime")?.as_str()?.parse().ok());
        Issued {
            issuer: self.issuer(),
            annotations: [
                (CERTIFICATE_NAME, name.to_owned()),
                ("cert-manager.io/issuer-kind", kind.as_str().to_owned()),
                ("cert-manager.io/issuer-name", issuer.to_owned()),
                ("cert-manager.io/issuer-group", group.to_owned()),
            ],
            renew_at,
        }
    }

    /// The issuer as status shows it.
    fn issuer(&self) -> String {
        let (kind, name, _) = named(self.reference);
        format!("certManager/{}/{name}", kind.as_str())
    }
}
