//! The PKI engine of a Vault as issuer: the key is made here and stays here as long as it is used, Vault signs a request.
//!
//! What it gave is sealed together with what was asked for, so that neither a restart nor a quiet day asks again.
//! While Vault has no answer, the pair that the TLS Secret holds stays in use.

mod answer;
mod given;
mod words;

use crds::{Reason, VaultPki};
use k8s_openapi::{api::core::v1::Secret, jiff::SignedDuration};
use render::Problem;
use secrecy::SecretString;
use serde_json::json;

pub use given::Given;

use super::{
    Case, Certificate, Content, Plan, SecretValues, kept, pair,
    renewal::{keeps_key, life, private_key, renew_at},
    text,
};
use crate::{
    backoff::{self, Wait},
    cache::SecretNote,
    compare::{Digest, digest},
    error::Error,
    hold,
    observe::{self, TlsSecret},
    pki::{self, IssueReason, Leaf},
    provided_certificate::{self, Check, Wanted},
    vault::{self, Connection, Failure, Order},
};

/// How soon the right to the finalizer is looked for again.
const UNHELD: SignedDuration = SignedDuration::from_secs(15);

/// What the spec names, and the service that wants a certificate of it.
pub struct Source<'a> {
    pub case: &'a Case<'a>,
    pub spec: &'a VaultPki,
}

/// What the TLS Secret holds.
struct Old {
    /// Why it is replaced; nothing when it is good.
    why: Option<IssueReason>,
    /// The operator's own content.
    own: Option<kept::Own>,
    /// Its key, if that is of the kind that the spec asks for.
    key: Option<SecretString>,
}

impl Source<'_> {
    /// Decides about the certificate.
    pub async fn certificate(&self) -> Result<Certificate, Error> {
        let (case, asked) = (self.case, &self.case.ctx.asked);
        let connection = match self.connection() {
            Ok(connection) => connection,
            Err(problem) => return kept::stay(case, problem, None).await,
        };
        let expected = self.expected();
        let good = |note: &SecretNote| {
            note.expected == expected && note.leaf.as_ref().is_some_and(|leaf| !self.is_due(leaf))
        };
        let wait = asked.wait(case.key, expected, case.now);
        let found = match wait {
            Some(_) => kept::find(case).await?,
            None => observe::tls_secret(case, good).await?,
        };
        if let TlsSecret::Known(note) = &found
            && let (true, Some(leaf)) = (good(note), note.leaf.clone())
        {
            asked.settle(case.key, case.now);
            let (plan, bundle) = (Plan::Keep(note.version.0.clone()), note.ca_bundle.clone());
            return Ok(self.good(&leaf, found, plan, expected, bundle));
        }
        if matches!(found, TlsSecret::Foreign) {
            return Ok(kept::keep(case, found, self.foreign(), None));
        }
        let old = match &found {
            TlsSecret::Read(secret) => self.judge(secret),
            _ => Old { why: Some(IssueReason::Missing), own: None, key: None },
        };
        match (old, wait) {
            (Old { why: None, own: Some(own), .. }, _) => {
                asked.settle(case.key, case.now);
                let (leaf, bundle) = (own.content.leaf.clone(), own.ca_bundle);
                Ok(self.good(&leaf, found, Plan::Content(own.content), expected, bundle))
            }
            (old, Some(wait)) => Ok(self.wait(found, &old, expected, wait)),
            (old, None) => self.ask(connection, found, old, expected).await,
        }
    }

    /// The connection, if the platform has it and lets services use the role.
    fn connection(&self) -> Result<&Connection, Problem> {
        let connection = self.case.ctx.vaults.get(self.name()).ok_or_else(|| self.unknown())?;
        if connection.allows(&self.spec.role) { Ok(connection) } else { Err(self.not_allowed()) }
    }

    /// Asks Vault, as the service's own account.
    async fn ask(
        &self,
        connection: &Connection,
        found: TlsSecret,
        old: Old,
        expected: Digest,
    ) -> Result<Certificate, Error> {
        let Case { ctx, key, service, now, .. } = self.case;
        if let Some(problem) = observe::no_account(self.case) {
            let again = now.checked_add(observe::ACCOUNT).ok();
            return Ok(kept::keep(self.case, found, problem, again));
        }
        // What Vault gives must be taken back some day, whatever happens from here on.
        if !hold::is_held(*service) {
            let again = now.checked_add(UNHELD).ok();
            return Ok(kept::keep(self.case, found, hold::missing(key), again));
        }
        let why = old.why.unwrap_or(IssueReason::Missing);
        let names = self.names();
        let spec = private_key(service);
        let kept = old.key.clone().filter(|_| keeps_key(&spec, why));
        let (key_pair, csr) = request(names.clone(), spec, kept).await?;
        let order = Order { role: self.spec.role.clone(), csr, names, seconds: life(service).as_secs() };
        let answer = match connection.sign(&ctx.client, key, order).await {
            Ok(signed) => self.accept(&signed, &key_pair),
            Err(Failure::Told(problem)) => Err(problem),
            Err(Failure::Pass(error)) => return Err(error),
        };
        match answer {
            Err(problem) => {
                let of_vault = matches!(
                    problem.reason,
                    Reason::VaultUnreachable | Reason::VaultLoginRefused | Reason::VaultRefused
                );
                let pauses = if of_vault { backoff::VAULT } else { backoff::REFUSED };
                tracing::warn!(connection = self.name(), why = problem.message, "no certificate from Vault");
                let wait = ctx.asked.note(key, expected, problem, pauses, *now);
                Ok(self.wait(found, &old, expected, wait))
            }
            Ok((mut content, bundle)) => {
                ctx.asked.note(key, expected, self.answered(), backoff::ANSWERED, *now);
                content.issued = Some(why);
                content.replaces_own = old.own.is_some();
                let leaf = content.leaf.clone();
                Ok(self.good(&leaf, found, Plan::Content(content), expected, bundle))
            }
        }
    }

    /// Whether what the TLS Secret holds is what Vault gave for what is asked for now.
    fn judge(&self, secret: &Secret) -> Old {
        let Some(mut own) = kept::own_content(self.case, secret) else {
            let why = if pair(secret).is_some() { IssueReason::WrongIssuer } else { IssueReason::Missing };
            return Old { why: Some(why), own: None, key: None };
        };
        let issuer = own.asked.rsplit_once(' ').map(|(issuer, _)| issuer);
        let spec = private_key(self.case.service);
        let of_kind = text(secret, "tls.crt").is_some_and(|pem| pki::is_of_kind(&pem, &spec));
        let why = if issuer != Some(&self.issuer()) {
            Some(IssueReason::IssuerChanged)
        } else if own.asked != self.asked() {
            Some(IssueReason::DurationChanged)
        } else {
            match provided_certificate::examine(secret, &self.wanted(), self.case.now) {
                Ok(_) if !of_kind => Some(IssueReason::KeyTypeChanged),
                Ok(provided) => {
                    own.content.leaf = provided.leaf;
                    self.is_due(&own.content.leaf).then_some(IssueReason::RenewalDue)
                }
                Err(refusal) if refusal.failures.iter().any(|f| f.check == Check::Names) => {
                    Some(IssueReason::NamesChanged)
                }
                // It was good when it was sealed: time has passed.
                Err(_) => Some(IssueReason::RenewalDue),
            }
        };
        let key = own.content.values.key().filter(|_| of_kind);
        Old { why, own: Some(own), key }
    }

    /// It is right.
    fn good(
        &self,
        leaf: &Leaf,
        found: TlsSecret,
        plan: Plan,
        expected: Digest,
        ca_bundle: String,
    ) -> Certificate {
        let renew_at = renew_at(self.case.service, leaf);
        Certificate {
            found,
            plan,
            expected,
            ca_bundle,
            longer: None,
            again: Some(renew_at),
            status: Some(kept::status(leaf, Some(renew_at), self.issuer())),
            problem: None,
            warning: None,
            unasked: None,
        }
    }

    /// What is in use stays in use. Where only its time to be renewed has come, it is as good as before until it ends.
    fn wait(&self, found: TlsSecret, old: &Old, expected: Digest, wait: Wait) -> Certificate {
        let due = match (&found, old) {
            (TlsSecret::Known(note), _) if note.expected == expected => note.leaf.clone(),
            (_, Old { why: Some(IssueReason::RenewalDue), own: Some(own), .. }) => {
                Some(own.content.leaf.clone())
            }
            _ => None,
        };
        let mut certificate = kept::keep(self.case, found, wait.problem, Some(wait.until));
        let end = due.map(|leaf| leaf.not_after).filter(|end| self.case.now < *end);
        if let Some(end) = end {
            certificate.expected = expected;
            certificate.warning = certificate.problem.take();
            certificate.again = Some(wait.until.min(end));
        }
        certificate
    }

    fn is_due(&self, leaf: &Leaf) -> bool {
        self.case.now >= renew_at(self.case.service, leaf)
    }

    fn names(&self) -> Vec<String> {
        render::hosts::certificate_names(self.case.service, self.case.facts)
    }

    /// Exactly these names.
    fn wanted(&self) -> Wanted {
        Wanted { client_names: self.names(), own_names: self.names(), allowed_hosts: Vec::new() }
    }

    /// The name of the connection.
    fn name(&self) -> &str {
        connection(self.spec)
    }

    /// The issuer as status shows it.
    fn issuer(&self) -> String {
        format!("vaultPki/{}/{}", self.name(), self.spec.role)
    }

    /// What the certificate itself does not tell of how it came to be.
    fn asked(&self) -> String {
        format!("{} {}s", self.issuer(), life(self.case.service).as_secs())
    }

    fn expected(&self) -> Digest {
        digest(&json!({
            "asked": self.asked(),
            "names": self.names(),
            "key": private_key(self.case.service),
            "plan": render::tls_secret(self.case.service).metadata,
        }))
    }
}

/// Name of the connection that the spec means.
pub fn connection(spec: &VaultPki) -> &str {
    vault::connection_name(spec.connection.as_deref())
}

/// RSA keys take seconds to make: off the reconcile threads.
async fn request(
    names: Vec<String>,
    spec: crds::PrivateKey,
    kept: Option<SecretString>,
) -> Result<(SecretString, String), Error> {
    tokio::task::spawn_blocking(move || pki::request(&names, &spec, kept.as_ref())).await?
}
