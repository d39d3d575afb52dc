//! Rights that come with the RoleBinding of an onboarded namespace, each missing in a namespace of its own.

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use kube::api::Patch;
use render::Kind;
use serde_json::json;
use testbed::cluster::NAMESPACE_ROLE;
use testbed::drift::{attack, plant};
use testbed::fixture::{OPERATOR, Service, condition};
use testbed::rights::{self, Right};
use testbed::{Cluster, Look, Operator, wait_until};

use crate::{BACK, full, is_missed, kind_of, name_of};

/// An object that claims to be a child, which the spec does not ask for.
const PLANTED: &str = "planted";

#[tokio::test]
async fn each_right_in_a_namespace_that_is_missing_is_named_and_the_rest_works() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let mut all = rights::of_cluster_role(&cluster, NAMESPACE_ROLE).await?;
    // Only the replacement of the CA needs pods, and only the change of a login Jobs: ca_rotation.rs, least_privilege.rs.
    all.retain(|right| !["pods", "jobs"].contains(&&*right.resource));
    ensure!(all.len() > 30, "only {} rights", all.len());
    println!("{} rights", all.len());
    try_join_all(all.iter().map(|right| without(&cluster, &all, right))).await?;
    Ok(())
}

/// Onboards a namespace without one right, needs it, sees that it is named, gives it back, and sees that all is well.
async fn without(cluster: &Cluster, all: &[Right], right: &Right) -> Result<()> {
    let namespace = cluster.foreign_namespace("missing").await?;
    let name = &namespace.name;
    let but_one = rights::rules(all.iter().filter(|other| *other != right));
    rights::grant(cluster, name, OPERATOR, OPERATOR, but_one).await?;
    let other = all.iter().find(|other| *other != right).context("no other right")?;
    rights::until_allowed(cluster, OPERATOR, Some(name), other, true).await?;
    cluster.annotate(&namespace, "*.example.com").await?;
    let service = Service::create(cluster, name, &full()?).await?;
    let kind = kind_of(right).context("a right on something else")?;
    let child = provoke(&service, right, kind).await.with_context(|| right.words())?;
    service
        .until(&format!("'{}' to be missed", right.words()), |service| {
            if right.verb == "list" {
                let ready = condition(service, "Ready");
                return ready.is_some_and(|ready| {
                    ready.reason == "NamespaceNotOnboarded" && ready.message.contains(&right.words())
                });
            }
            is_missed(service, right, kind, child.as_deref())
        })
        .await?;
    rights::grant(cluster, name, OPERATOR, OPERATOR, rights::rules(all)).await?;
    wait_until(BACK, &format!("all to be well with '{}'", right.words()), async || {
        let made = service.made().await.map(drop);
        match mended(&service, kind, child.as_deref()).await {
            Ok(true) if made.is_ok() => Look::Done(()),
            other => Look::NotYet(format!("{made:?} {other:?}")),
        }
    })
    .await
}

/// Does what the operator needs this right for. Gives the child that is concerned, if it is a certain one.
async fn provoke(service: &Service, right: &Right, kind: Kind) -> Result<Option<String>> {
    let patch = match (&*right.verb, kind) {
        // The TLS Secret is read before anything is written.
        ("create" | "list" | "watch", _) | ("get", Kind::Secret) => return Ok(None),
        ("get", _) => json!({"metadata": {"labels": {crds::SERVICE_LABEL: null}}}),
        ("update", _) => json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "mallory"}}}),
        ("delete", _) => {
            service.made().await?;
            plant(service, kind, &name_of(service, kind)?, PLANTED).await?;
            return Ok(Some(PLANTED.into()));
        }
        _ => bail!("no service needs the verb {}", right.verb),
    };
    service.made().await?;
    let child = name_of(service, kind)?;
    if let Err(refusal) = attack(service, kind, &child, &Patch::Merge(patch)).await? {
        bail!("{refusal:?}");
    }
    Ok(Some(child))
}

/// Whether what was provoked is gone.
async fn mended(service: &Service, kind: Kind, child: Option<&str>) -> Result<bool> {
    let Some(child) = child else { return Ok(true) };
    let live = service.child(kind, child).await?;
    if child == PLANTED {
        return Ok(live.is_none());
    }
    let labels = &live.context("no such child")?["metadata"]["labels"];
    Ok(labels[crds::SERVICE_LABEL] == *service.name && labels["app.kubernetes.io/part-of"] == *service.name)
}
