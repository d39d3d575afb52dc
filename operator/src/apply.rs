//! Fourth verb: make the children what render says, in its order, by POST, PUT and DELETE only.

use crds::{ChildState, HardenedService, Reason};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::ResourceExt;
use render::{Applied, Body, Child, Kind, Outcome, Problem, SecretPlan};
use serde_json::Value;

use crate::{
    Context,
    cache::{Key, SecretNote},
    compare::{self, Rules},
    error::Error,
    events::{Happening, Severity},
    fight::Object,
    issuer::{Certificate, Content, Plan},
    metrics,
    mint::Minted,
    observe::{Observed, TlsSecret},
    ownership::is_ours,
    secrets::{self, Awaited},
    version::exactly,
    write::{Writer, whole_secret},
};

/// Children without which pods must not start: the policy that isolates them, their identity, and what they mount.
const HOLDS_PODS: [Kind; 4] = [Kind::NetworkPolicy, Kind::ServiceAccount, Kind::ConfigMap, Kind::Secret];

/// One pass over one service.
pub struct Pass<'a> {
    /// Client, caches, metrics.
    pub ctx: &'a Context,
    /// The service.
    pub service: &'a HardenedService,
    /// Its name.
    pub key: &'a Key,
    /// Rules of the comparison.
    pub rules: Rules<'a>,
    /// The change of values for which the pods are restarted next.
    pub awaited: Option<&'a Awaited>,
    /// The time at which the pass began.
    pub now: Timestamp,
}

impl Pass<'_> {
    /// A child, as fights know it.
    pub fn object(&self, child: &Child) -> Object {
        Object { service: self.key.clone(), kind: child.kind, name: child.name.clone() }
    }
}

/// Applies all children, prunes the rest, and says what became of each.
pub async fn apply(
    pass: &Pass<'_>,
    children: Vec<Child>,
    observed: &Observed,
    Minted { certificate, values, database, .. }: &Minted,
) -> Result<Applied, Error> {
    let mut applied = Applied {
        tls: certificate.status.clone(),
        tls_problem: certificate.problem.clone(),
        tls_warning: certificate.warning.clone(),
        database: database.as_ref().map(|database| database.status.clone()),
        database_problem: database.as_ref().and_then(|database| database.problem.clone()),
        ..Applied::default()
    };
    if matches!(&certificate.plan, Plan::Content(content) if content.replaces_own) {
        expect_change(pass);
    }
    let mut hold = blind(pass, Kind::Secret).or_else(|| observed.not_allowed.clone());
    let kept = database.iter().filter_map(|database| Some((Kind::Job, database.kept.clone()?)));
    let wanted: Vec<(Kind, String)> = children.iter().map(|c| (c.kind, c.name.clone())).chain(kept).collect();
    let tls = render::child_name(&pass.key.name, "tls");
    let is_new = pass.ctx.cache.get(Kind::Deployment, &pass.key.namespace, &pass.key.name).is_none();
    let mut newcomer = is_new.then(|| pass.ctx.burst.join());
    for child in children {
        if child.kind == Kind::Deployment
            && let Some(newcomer) = newcomer.take()
            && hold.is_none()
        {
            newcomer.wait_for_the_others().await;
        }
        let mut outcome = match &child.body {
            _ if let Some(problem) = blind(pass, child.kind) => {
                Writer { pass, child: &child }.failed(None, problem)
            }
            Body::Object(_)
                if child.kind == Kind::Certificate
                    && let Some(problem) = &certificate.unasked =>
            {
                Writer { pass, child: &child }.failed(None, problem.clone())
            }
            Body::Secret(plan) if child.name == tls => secret(pass, &child, plan, certificate).await?,
            Body::Secret(plan) => secrets::write(pass, &child, plan, values.as_ref(), &mut applied).await?,
            Body::Object(desired) if matches!(child.kind, Kind::Deployment | Kind::Job) => match &hold {
                Some(why) => held(pass, &child, desired, why).await?,
                None => object(pass, &child, desired).await?,
            },
            Body::Object(desired) => object(pass, &child, desired).await?,
        };
        if HOLDS_PODS.contains(&outcome.kind) && outcome.state != ChildState::Applied && hold.is_none() {
            hold = Some(Problem {
                reason: Reason::Held,
                message: format!("the pods wait for {} {}", outcome.kind.as_str(), outcome.name),
            });
        }
        outcome.problem = outcome.problem.or_else(|| pass.ctx.fights.problem(&pass.object(&child), pass.now));
        applied.outcomes.push(outcome);
    }
    applied.outcomes.extend(prune(pass, &wanted).await?);
    applied.deployment = deployment(pass);
    let note = pass.ctx.cache.note(Kind::Deployment, &pass.key.namespace, &pass.key.name);
    applied.deployment_is_settled = applied.deployment.as_ref().is_some_and(|d| note.version == exactly(d));
    Ok(applied)
}

/// The Deployment as the cache has it, when it is ours.
pub fn deployment(pass: &Pass<'_>) -> Option<k8s_openapi::api::apps::v1::Deployment> {
    let live = pass.ctx.cache.get(Kind::Deployment, &pass.key.namespace, &pass.key.name)?;
    if !is_ours(&live.metadata, pass.service) {
        return None;
    }
    (*live).clone().try_parse().ok()
}

async fn object(pass: &Pass<'_>, child: &Child, desired: &Value) -> Result<Outcome, Error> {
    let writer = Writer { pass, child };
    match pass.ctx.cache.get(child.kind, &pass.key.namespace, &child.name) {
        None => writer.create(desired).await,
        Some(live) if writer.is_settled(&live, desired) => {
            Ok(writer.outcome(live.uid(), ChildState::Applied, None))
        }
        Some(live) => writer.settle((*live).clone(), desired).await,
    }
}

/// A held Deployment is neither made nor changed by us. What others changed is still undone: a hold must not be a way
/// to switch the drift correction off.
async fn held(pass: &Pass<'_>, child: &Child, desired: &Value, why: &Problem) -> Result<Outcome, Error> {
    let live = pass.ctx.cache.get(child.kind, &pass.key.namespace, &child.name);
    let note = pass.ctx.cache.note(child.kind, &pass.key.namespace, &child.name);
    let mut outcome = match live {
        Some(live) if note.target == Some(compare::digest(desired)) => {
            Writer { pass, child }.settle((*live).clone(), desired).await?
        }
        live => Outcome {
            kind: child.kind,
            name: child.name.clone(),
            uid: live.filter(|l| is_ours(&l.metadata, pass.service)).and_then(|l| l.uid()),
            state: ChildState::Held,
            problem: None,
        },
    };
    if outcome.problem.is_none() {
        outcome.state = ChildState::Held;
        outcome.problem = Some(why.clone());
    }
    Ok(outcome)
}

/// After a restart no target is remembered, and a certificate that was renewed meanwhile would be taken for drift.
fn expect_change(pass: &Pass<'_>) {
    let child = |suffix| render::child_name(&pass.key.name, suffix);
    let restarts = render::restarts_on_renewal(pass.service);
    let deployment = restarts.then(|| (Kind::Deployment, pass.key.name.clone()));
    for (kind, name) in
        [(Kind::ConfigMap, child("ca")), (Kind::Secret, child("tls"))].into_iter().chain(deployment)
    {
        pass.ctx.cache.expect_change(kind, &pass.key.namespace, &name);
    }
}

async fn secret(
    pass: &Pass<'_>,
    child: &Child,
    plan: &SecretPlan,
    certificate: &Certificate,
) -> Result<Outcome, Error> {
    let writer = Writer { pass, child };
    let content = match &certificate.plan {
        Plan::Keep(uid) => {
            return Ok(writer.outcome(uid.clone(), ChildState::Applied, certificate.problem.clone()));
        }
        Plan::Leave { trusted } => {
            // A certificate that is in use stays in use; only without one the pods must wait.
            let live = pass.ctx.cache.get(child.kind, &pass.key.namespace, &child.name);
            let live = live.filter(|l| is_ours(&l.metadata, pass.service));
            let state = if live.is_some() && *trusted { ChildState::Applied } else { ChildState::Failed };
            return Ok(writer.outcome(live.and_then(|l| l.uid()), state, certificate.problem.clone()));
        }
        Plan::Content(content) => content,
    };
    let live = match &certificate.found {
        TlsSecret::Read(live) => Some(&**live),
        _ => None,
    };
    let mut outcome = writer.settle_secret(live, &desired(plan, content)).await?;
    if outcome.state == ChildState::Applied {
        pass.ctx.cache.remember(child.kind, &pass.key.namespace, &child.name, |n| {
            let (version, leaf) = (n.version.clone(), Some(content.leaf.clone()));
            let ca_bundle = certificate.ca_bundle.clone();
            n.secret = Some(SecretNote { version, expected: certificate.expected, leaf, ca_bundle });
        });
        if let Some(reason) = content.issued {
            announce(pass, reason, &content.leaf).await;
        }
        outcome.problem = certificate.problem.clone();
    }
    Ok(outcome)
}

fn desired(plan: &SecretPlan, content: &Content) -> Secret {
    let seal = content.seal.iter().map(|seal| (crds::SEAL_ANNOTATION.to_owned(), seal.clone()));
    whole_secret(plan, seal, content.values.data())
}

async fn announce(pass: &Pass<'_>, reason: crate::pki::IssueReason, leaf: &crate::pki::Leaf) {
    pass.ctx.metrics.certificates.get_or_create(&metrics::Why { reason: reason.as_str() }).inc();
    let note = format!("certificate issued ({}), valid until {}", reason.as_str(), leaf.not_after);
    let happening =
        Happening { severity: Severity::Normal, reason: "CertificateIssued", action: "Issue", note };
    pass.ctx.events.publish(pass.service, happening).await;
}

/// Why nothing is known of a kind: without its watch the operator would write blindly.
fn blind(pass: &Pass<'_>, kind: Kind) -> Option<Problem> {
    let (ctx, namespace) = (pass.ctx, &pass.key.namespace);
    let refusal = match kind {
        Kind::Secret => ctx.cache.refused_secrets(namespace),
        _ => ctx.watches.refusal(kind.as_str(), namespace),
    };
    refusal.map(|refusal| refusal.problem())
}

/// Deletes what is ours and not wanted any more, with uid and resourceVersion (V5). Gives what the server refused.
async fn prune(pass: &Pass<'_>, wanted: &[(Kind, String)]) -> Result<Vec<Outcome>, Error> {
    let mut refused = Vec::new();
    for (kind, live) in pass.ctx.cache.of(pass.key) {
        let unwanted = !wanted.iter().any(|(k, name)| *k == kind && *name == live.name_any());
        let here = is_ours(&live.metadata, pass.service) && live.metadata.deletion_timestamp.is_none();
        if unwanted && here && blind(pass, kind).is_none() {
            let child = Child { kind, name: live.name_any(), body: Body::Object(Value::Null) };
            refused.extend(Writer { pass, child: &child }.delete(&live).await?);
        }
    }
    Ok(refused)
}
