//! A right that is taken away while the operator runs. A watch is asked for anew now and then, at the latest after five
//! minutes; here because the API server ends it.

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::fixture::{OPERATOR, Service};
use testbed::rights::{self, Right};
use testbed::{Cluster, Operator};

use crate::{CLUSTER_ROLE, full, until_readyz};

#[tokio::test]
async fn a_right_that_vanishes_is_missed_when_it_is_needed_again() -> Result<()> {
    let cluster = Cluster::get().await?;
    let operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("vanishing").await?;
    let all = rights::of_cluster_role(&cluster, CLUSTER_ROLE).await?;
    let vanishes = |right: &&Right| right.resource == "hardenedservices" && right.verb == "watch";
    let right = all.iter().find(vanishes).context("no such right")?;
    let rest = rights::rules(all.iter().filter(|other| *other != right));
    rights::set_cluster_role(&cluster, CLUSTER_ROLE, rest).await?;
    let missed = is_missed(&cluster, &operator, right).await;
    // Also after a failure: role and definition are everybody's.
    describe(&cluster, None).await?;
    rights::set_cluster_role(&cluster, CLUSTER_ROLE, rights::rules(&all)).await?;
    missed?;
    Service::create(&cluster, &namespace.name, &full()?).await?.made().await?;
    Ok(())
}

async fn is_missed(cluster: &Cluster, operator: &Operator, right: &Right) -> Result<()> {
    rights::until_allowed(cluster, OPERATOR, None, right, false).await?;
    describe(cluster, Some("Another description.")).await?;
    until_readyz(operator, right, 503).await
}

/// Describes the resource, by default as it was: a change of the definition ends the watches of its resources.
async fn describe(cluster: &Cluster, text: Option<&str>) -> Result<()> {
    let ours = serde_json::to_value(crds::all().pop().context("one CRD")?)?;
    let pointer = "/spec/versions/0/schema/openAPIV3Schema/description";
    let before = ours.pointer(pointer).and_then(Value::as_str).context("no description")?;
    let patch = json!([{"op": "replace", "path": pointer, "value": text.unwrap_or(before)}]);
    let patch: Patch<Value> = Patch::Json(serde_json::from_value(patch)?);
    let definitions = Api::<CustomResourceDefinition>::all(cluster.client.clone());
    definitions.patch("hardenedservices.hardened.dev", &PatchParams::default(), &patch).await?;
    Ok(())
}
