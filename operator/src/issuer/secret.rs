//! A Secret of somebody else as issuer: check what is in it and copy it into the TLS Secret. It is never written.
//!
//! While it is no good, the pair that the TLS Secret holds stays in use, provided that it is the operator's own copy:
//! the seal, an HMAC over its values, tells. There is no second copy, so what somebody else put there cannot be undone
//! before the Secret is good again; until then no pod starts with it.

mod words;

use crds::TlsStatus;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, ResourceExt};
use render::{Kind, Problem};
use serde_json::json;

use super::{Case, Certificate, Content, Plan, SecretValues, pair, text};
use crate::{
    cache::{ProvidedNote, SecretNote},
    compare::{Digest, digest},
    error::Error,
    observe::{self, TlsSecret},
    ownership::is_ours,
    pki::Leaf,
    provided_certificate::{self, Provided, Wanted},
};

type Version = (Option<String>, Option<String>);

/// The Secret and the service that wants its certificate.
pub struct Source<'a> {
    pub case: &'a Case<'a>,
    pub name: &'a str,
}

impl Source<'_> {
    /// Decides about the certificate.
    pub async fn certificate(&self) -> Result<Certificate, Error> {
        let (ctx, key) = (self.case.ctx, self.case.key);
        let Some(meta) = observe::labelled(ctx, key, self.name) else {
            return self.stay(self.not_allowed(), None).await;
        };
        if self.name == self.child() || is_ours(&meta.metadata, self.case.service) {
            return self.stay(self.own_copy(), None).await;
        }
        let wanted = self.wanted();
        let asked = digest(&json!([wanted.client_names, wanted.own_names, wanted.allowed_hosts]));
        let version = (meta.uid(), meta.resource_version());
        let note = ctx.cache.note(Kind::Secret, &key.namespace, self.name).provided;
        let note = note.filter(|note| {
            let current = note.until.is_none_or(|until| self.case.now < until);
            note.version == version && note.wanted == asked && current
        });
        match note {
            Some(ProvidedNote { verdict: Err(message), until, .. }) => {
                self.stay(self.invalid(&message), until).await
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
        let Some(secret) = secret.filter(|s| s.labels().get(crds::SERVICE_LABEL) == Some(&key.name)) else {
            return self.stay(self.not_allowed(), None).await;
        };
        let version = (secret.uid(), secret.resource_version());
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
            Err(message) => self.stay(self.invalid(&message), until).await,
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
        let seal = Some(self.seal(&values));
        let old = match &certificate.found {
            TlsSecret::Read(secret) => self.own_content(secret),
            _ => None,
        };
        let replaces_own = old.is_some_and(|(old, _)| old.values.data() != values.data());
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
            again: until,
            status: Some(TlsStatus {
                not_after: Some(render::whole_seconds(leaf.not_after)),
                renew_at: None,
                serial: Some(leaf.serial.clone()),
                issuer: Some(format!("secret/{}", self.name)),
                phase: None,
            }),
            problem: None,
            warning: self.warning(leaf),
        }
    }

    /// Nothing good is provided: what is in use stays in use.
    async fn stay(&self, problem: Problem, again: Option<Timestamp>) -> Result<Certificate, Error> {
        let found = self.find_for_staying().await?;
        let mut certificate = Certificate {
            found,
            plan: Plan::Leave { trusted: false },
            expected: Digest::default(),
            ca_bundle: String::new(),
            again,
            status: self.case.service.status.as_ref().and_then(|status| status.tls.clone()),
            problem: Some(problem),
            warning: None,
        };
        match &certificate.found {
            TlsSecret::Known(SecretNote { version, leaf: Some(_), ca_bundle, .. }) => {
                certificate.plan = Plan::Keep(version.0.clone());
                certificate.ca_bundle.clone_from(ca_bundle);
            }
            TlsSecret::Read(secret) => match self.own_content(secret) {
                Some((content, ca_bundle)) => {
                    certificate.plan = Plan::Content(content);
                    certificate.ca_bundle = ca_bundle;
                }
                None => self.distrust(secret),
            },
            _ => {}
        }
        if matches!(certificate.plan, Plan::Leave { .. }) {
            certificate.ca_bundle = self.published_bundle();
            if matches!(certificate.found, TlsSecret::Known(_) | TlsSecret::Read(_)) {
                certificate.problem = certificate.problem.map(|problem| self.swapped(&problem));
            }
        }
        Ok(certificate)
    }

    /// What was found of the present version is enough; without a sight of it a GET only if status knows of one.
    async fn find_for_staying(&self) -> Result<TlsSecret, Error> {
        let (case, child) = (self.case, self.child());
        let unseen = case.ctx.cache.get(Kind::Secret, &case.key.namespace, &child).is_none();
        let mut listed = case.service.status.iter().flat_map(|status| &status.children);
        if unseen && !listed.any(|c| c.kind == "Secret" && c.name == child && c.uid.is_some()) {
            return Ok(TlsSecret::Absent);
        }
        observe::tls_secret(case, |_| true).await
    }

    /// The content of a TLS Secret that is the operator's own: sealed, or from its own CA for this service.
    fn own_content(&self, secret: &Secret) -> Option<(Content, String)> {
        let (case, keys) = (self.case, self.case.keys);
        let ca_bundle = text(secret, "ca.crt")?;
        let values = SecretValues::new(pair(secret)?, &ca_bundle);
        let seal = self.seal(&values);
        if secret.annotations().get(crds::SEAL_ANNOTATION) == Some(&seal) {
            let leaf = provided_certificate::first(&text(secret, "tls.crt")?)?;
            let seal = Some(seal);
            return Some((Content { values, seal, leaf, issued: None, replaces_own: false }, ca_bundle));
        }
        let (pair, names) = (pair(secret)?, render::hosts::certificate_names(case.service, case.facts));
        let leaf = keys.authority.as_ref()?.ca.examine(&pair.certificate, &pair.key, &names, None).ok()?;
        let values = SecretValues::new(pair, &keys.bundle);
        let content = Content { values, seal: None, leaf, issued: None, replaces_own: false };
        Some((content, keys.bundle.clone()))
    }

    /// Remembers that this version is not the operator's own, so that it is read once only.
    fn distrust(&self, secret: &Secret) {
        let version = (secret.uid(), secret.resource_version());
        self.case.ctx.cache.remember(Kind::Secret, &self.case.key.namespace, &self.child(), |n| {
            let (expected, ca_bundle) = (Digest::default(), String::new());
            n.secret = Some(SecretNote { version, expected, leaf: None, ca_bundle });
        });
    }

    fn child(&self) -> String {
        render::child_name(&self.case.key.name, "tls")
    }

    fn seal(&self, values: &SecretValues) -> String {
        self.case.keys.seal(self.case.service.metadata.uid.as_deref().unwrap_or_default(), values)
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

    /// What clients trust stays as it is while nobody knows better.
    pub fn published_bundle(&self) -> String {
        let (ctx, key) = (self.case.ctx, self.case.key);
        let map = ctx.cache.get(Kind::ConfigMap, &key.namespace, &render::child_name(&key.name, "ca"));
        let map = map.filter(|map| is_ours(&map.metadata, self.case.service));
        let bundle = map.and_then(|map| Some(map.data.pointer("/data/ca.crt")?.as_str()?.to_owned()));
        bundle.unwrap_or_default()
    }
}
