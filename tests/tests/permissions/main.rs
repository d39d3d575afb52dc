//! Does the operator go on with the rest when one right is missing, say which, and mend everything by itself when the
//! right comes back? Each right of the chart is taken away in turn.

mod cluster;
mod namespace;
mod vanishing;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{ChildState, HardenedService};
use render::Kind;
use testbed::fixture::{Service, condition, example, wanted};
use testbed::rights::Right;
use testbed::{Look, Operator, wait_until};

/// ClusterRole of what the operator may do everywhere.
const CLUSTER_ROLE: &str = "hardened-operator-cluster";
/// Within this the operator has everything in order again after a right came back.
const BACK: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(30);

fn kind_of(right: &Right) -> Option<Kind> {
    Kind::BUILT_IN.into_iter().find(|kind| kind.api_resource().plural == right.resource)
}

/// A service with children of every kind.
fn full() -> Result<HardenedService> {
    let service = example("autoscaling")?;
    let kinds: Vec<_> = wanted(&service).into_iter().map(|(kind, _)| kind).collect();
    ensure!(Kind::BUILT_IN.iter().all(|kind| kinds.contains(kind)), "no child of some kind: {kinds:?}");
    Ok(service)
}

fn name_of(service: &Service, kind: Kind) -> Result<String> {
    let named = wanted(&HardenedService {
        metadata: kube::core::ObjectMeta { name: Some(service.name.clone()), ..Default::default() },
        ..full()?
    });
    named.into_iter().find(|(k, _)| *k == kind).map(|(_, name)| name).context("no such child")
}

fn state(service: &HardenedService, kind: &str, name: Option<&str>) -> Option<(ChildState, Option<String>)> {
    let mut children = service.status.as_ref()?.children.iter();
    let child = children.find(|child| child.kind == kind && name.is_none_or(|name| child.name == name))?;
    Some((child.state, child.reason.clone()))
}

/// Whether this very right is named, the children of its kind are marked, and all others are there, or wait for these.
fn is_missed(service: &HardenedService, right: &Right, kind: Kind, name: Option<&str>) -> bool {
    let Some(ready) = condition(service, "Ready") else { return false };
    let marked = state(service, kind.as_str(), name);
    let children = service.status.iter().flat_map(|status| &status.children);
    let mut others = children.filter(|child| child.kind != kind.as_str());
    ready.status == "False"
        && ready.reason == "PermissionDenied"
        && ready.message.contains(&right.words())
        && condition(service, "Stalled").is_some_and(|stalled| stalled.status == "True")
        && marked == Some((ChildState::Failed, Some("PermissionDenied".into())))
        && others.all(|child| match child.state {
            ChildState::Applied => true,
            ChildState::Held => child.kind == "Deployment",
            ChildState::Conflict | ChildState::Failed => false,
        })
}

/// Waits until /readyz answers with this code and names the right, and the log does too.
async fn until_readyz(operator: &Operator, right: &Right, code: u16) -> Result<()> {
    let line = format!("denied: {} in all namespaces", right.words());
    wait_until(SOON, &format!("/readyz to say '{line}'"), async || match operator.get("/readyz").await {
        Ok((found, body)) if found == code && body.contains(&line) => Look::Done(()),
        other => Look::NotYet(other.map_err(|error| error.to_string())),
    })
    .await?;
    until_logged(operator, &right.words()).await
}

async fn until_logged(operator: &Operator, words: &str) -> Result<()> {
    wait_until(SOON, &format!("the log to say '{words}'"), async || {
        if operator.log().contains(words) { Look::Done(()) } else { Look::NotYet(operator.log().len()) }
    })
    .await
}
