//! A Secret of somebody else, a user or cert-manager, as issuer: check what is in it and copy it into the TLS Secret. It is
//! never written.

mod words;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::Api;
use render::Kind;
use serde_json::json;

use super::{Case, Certificate, Content, Plan, SecretValues, kept};
use crate::{
    cache::{ProvidedNote, SecretNote},
    compare::{Digest, digest},
    error::Error,
    observe::{self, TlsSecret},
    ownership::is_ours,
    pki::Leaf,
    provided_certificate::{self, Provided, Wanted},
    version::{Version, exactly},
};

/// The Secret and the service that wants its certificate.
pub struct Source<'a> {
    pub case: &'a Case<'a>,
    pub name: &'a str,
    /// When cert-manager writes it for the Certificate of the service, and not a user.
    pub issued: Option<&'a Issued>,
}

/// What is known of the Secret that cert-manager writes.
pub struct Issued {
    /// The issuer as status shows it.
    pub issuer: String,
    /// The annotations that cert-manager gives to it.
    pub annotations: [(&'static str, String); 4],
    /// When cert-manager will renew it.
    pub renew_at: Option<Timestamp>,
}

impl Source<'_> {
    /// Decides about the certificate.
    pub async fn certificate(&self) -> Result<Certificate, Error> {
        let (ctx, key) = (self.case.ctx, self.case.key);
        let Some(meta) = observe::labelled(ctx, key, self.name) else {
            return kept::stay(self.case, self.not_allowed(), None).await;
        };
        if self.name == kept::child(self.case) || is_ours(&meta.metadata, self.case.service) {
            return kept::stay(self.case, self.own_copy(), None).await;
        }
        if !self.is_issued(&meta.metadata) {
            return kept::stay(self.case, self.not_issued(), None).await;
        }
        let wanted = self.wanted();
        let asked = digest(&json!([wanted.client_names, wanted.own_names, wanted.allowed_hosts]));
        let version = exactly(&*meta);
        let note = ctx.cache.note(Kind::Secret, &key.namespace, self.name).provided;
        let note = note.filter(|note| {
            let current = note.until.is_none_or(|until| self.case.now < until);
            note.version == version && note.wanted == asked && current
        });
        match note {
            Some(ProvidedNote { verdict: Err(message), until, .. }) => {
                kept::stay(self.case, self.invalid(&message), until).await
            }
            Some(ProvidedNote { verdict: Ok(_), until, .. }) => {
                let expected = self.expected(&version, &asked);
                let found = observe::tls_secret(self.case, |note| note.expected == expected).await?;
                if let TlsSecret::Known(SecretNote { leaf: Some(leaf), .. }) = &found {
                    return Ok(self.good(&leaf.clone(), found, expected, until));
                }
                self.read(&wanted, asked, Some(found)).await
            }
            None => self.read(&wanted, asked, None).await,
        }
    }

    /// Its version is new, or the TLS Secret needs its values.
    async fn read(
        &self,
        wanted: &Wanted,
        asked: Digest,
        found: Option<TlsSecret>,
    ) -> Result<Certificate, Error> {
        let (ctx, key) = (self.case.ctx, self.case.key);
        let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &key.namespace);
        let secret = api.get_opt(self.name).await?;
        let Some(secret) = secret.filter(|s| observe::carries_label(s, key) && self.is_issued(&s.metadata))
        else {
            return kept::stay(self.case, self.not_allowed(), None).await;
        };
        let version = exactly(&secret);
        let (verdict, until) = match provided_certificate::examine(&secret, wanted, self.case.now) {
            Ok(provided) => {
                let until = provided.until;
                (Ok(provided), until)
            }
            Err(refusal) => (Err(refusal.to_string()), refusal.until),
        };
        ctx.cache.remember(Kind::Secret, &key.namespace, self.name, |n| {
            let verdict = verdict.as_ref().map(|provided| provided.leaf.clone()).map_err(Clone::clone);
            n.provided = Some(ProvidedNote { version: version.clone(), wanted: asked, until, verdict });
        });
        match verdict {
            Err(message) => kept::stay(self.case, self.invalid(&message), until).await,
            Ok(provided) => {
                let expected = self.expected(&version, &asked);
                let found = match found {
                    Some(found) => found,
                    None => observe::tls_secret(self.case, |note| note.expected == expected).await?,
                };
                Ok(self.copy(provided, found, expected))
            }
        }
    }

    fn copy(&self, provided: Provided, found: TlsSecret, expected: Digest) -> Certificate {
        let Provided { pair, ca_bundle, leaf, until } = provided;
        let certificate = Certificate { ca_bundle, ..self.good(&leaf, found, expected, until) };
        if matches!(certificate.found, TlsSecret::Known(_)) {
            return certificate;
        }
        let values = SecretValues::new(pair, &certificate.ca_bundle);
        let seal = Some(kept::seal(self.case, &values, ""));
        let old = match &certificate.found {
            TlsSecret::Read(secret) => kept::own_content(self.case, secret),
            _ => None,
        };
        let replaces_own = old.is_some_and(|old| old.content.values.data() != values.data());
        let content = Content { values, seal, leaf, issued: None, replaces_own };
        Certificate { plan: Plan::Content(content), ..certificate }
    }

    /// The TLS Secret holds this certificate already.
    fn good(&self, leaf: &Leaf, found: TlsSecret, expected: Digest, until: Option<Timestamp>) -> Certificate {
        let (uid, ca_bundle) = match &found {
            TlsSecret::Known(note) => (note.version.0.clone(), note.ca_bundle.clone()),
            _ => Default::default(),
        };
        Certificate {
            found,
            plan: Plan::Keep(uid),
            expected,
            ca_bundle,
            longer: None,
            again: until,
            status: Some(match self.issued {
                None => kept::status(leaf, None, format!("secret/{}", self.name)),
                Some(issued) => kept::status(leaf, issued.renew_at, issued.issuer.clone()),
            }),
            problem: None,
            warning: self.warning(leaf),
            unasked: None,
        }
    }

    /// A slip, such as a Secret of the same name that a user labelled, or one that another issuer's certificate is still in.
    /// Who may write Secrets can write annotations too.
    fn is_issued(&self, metadata: &ObjectMeta) -> bool {
        let annotations = metadata.annotations.as_ref();
        let has = |(key, value): &(&str, String)| annotations.and_then(|all| all.get(*key)) == Some(value);
        self.issued.is_none_or(|issued| issued.annotations.iter().all(has))
    }

    fn wanted(&self) -> Wanted {
        let Case { service, facts, .. } = self.case;
        Wanted {
            client_names: render::hosts::client_names(service, facts),
            own_names: render::hosts::certificate_names(service, facts),
            allowed_hosts: facts.allowed_hosts.clone(),
        }
    }

    fn expected(&self, version: &Version, asked: &Digest) -> Digest {
        digest(&json!({
            "source": [self.name, version.0, version.1],
            "asked": asked,
            "plan": render::tls_secret(self.case.service).metadata,
        }))
    }
}
