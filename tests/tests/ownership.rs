//! Does the operator know its own children again, and take nobody's word for what is one?

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use render::Kind;
use serde_json::{Value, json};
use testbed::certificate::{self, History, Pair};
use testbed::cluster::OPERATOR_NAMESPACE;
use testbed::drift::essence;
use testbed::fixture::{Service, condition, named, wanted};
use testbed::{Cluster, Look, Operator, wait_until};

const UNDONE: Duration = Duration::from_secs(5);
/// The garbage collector needs a second, the operator another.
const BACK: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_stripped_owner_or_label_is_put_back_on_the_same_object_without_a_new_key() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("stripped").await?;
    let _operator = Operator::start(&cluster).await?;
    let history = History::watch(&cluster.client, &namespace.name);
    let (owner, label) = (json!({"ownerReferences": null}), json!({"labels": {crds::SERVICE_LABEL: null}}));
    let both = json!({"ownerReferences": null, "labels": null});
    let cases = [("owner", owner), ("label", label), ("both", both)];
    try_join_all(cases.into_iter().map(async |(name, metadata)| {
        let service = busy(&cluster, &namespace.name, name).await?;
        service.made().await?;
        let children = wanted(&service.get().await?);
        assert_eq!(children.len(), 9, "{name}");
        let patch = json!({"metadata": metadata});
        try_join_all(children.iter().map(|(kind, child)| restored(&service, *kind, child, &patch))).await?;
        assert_eq!(history.serials(name).len(), 1, "{name}: another certificate was made");
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

async fn restored(service: &Service, kind: Kind, name: &str, patch: &Value) -> Result<()> {
    let before = service.child(kind, name).await?.context("no child")?;
    let stripped = service.children_api(kind).patch(name, &somebody(), &Patch::Merge(patch)).await?;
    let stripped = serde_json::to_value(stripped)?;
    assert_ne!(essence(&stripped), essence(&before), "{name}: nothing was stripped");
    wait_until(UNDONE, &format!("{} {name} to have its metadata back", kind.as_str()), async || match service
        .child(kind, name)
        .await
    {
        Ok(Some(now)) if essence(&now) == essence(&before) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

#[tokio::test]
async fn a_child_that_the_garbage_collector_was_tricked_into_deleting_comes_back_with_one_new_key()
-> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("collected").await?;
    let _operator = Operator::start(&cluster).await?;
    let history = History::watch(&cluster.client, &namespace.name);
    let service = busy(&cluster, &namespace.name, "collected").await?;
    let owner = service.made().await?.uid();
    let bogus = json!({"metadata": {"ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "controller": true,
        "uid": "00000000-0000-4000-8000-000000000000",
    }]}});
    try_join_all(service.children().await?.iter().map(async |(kind, before)| {
        let name = before["metadata"]["name"].as_str().context("no name")?;
        service.children_api(*kind).patch(name, &somebody(), &Patch::Merge(&bogus)).await?;
        wait_until(BACK, &format!("{} {name} to come back", kind.as_str()), async || {
            let now = service.child(*kind, name).await.ok().flatten().unwrap_or_default();
            let ours = now["metadata"]["ownerReferences"][0]["uid"].as_str() == owner.as_deref();
            let new = now["metadata"]["uid"] != before["metadata"]["uid"];
            if ours && new { Look::Done(()) } else { Look::NotYet(now["metadata"].to_string()) }
        })
        .await
    }))
    .await?;
    service.made().await?;
    assert_eq!(history.serials(&service.name).len(), 2, "one key before and one after");
    Ok(())
}

#[tokio::test]
async fn a_forged_secret_with_every_sign_of_ours_gets_a_certificate_of_our_ca() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("forged").await?;
    let mut operator = Operator::start(&cluster).await?;
    let service = busy(&cluster, &namespace.name, "forged").await?;
    let live = service.made().await?;
    let genuine = certificate::tls_secret(&cluster.client, &namespace.name, "forged").await?;
    let names = Pair::of(&genuine)?.names()?;
    operator.kill().await?;
    let api = Api::<Secret>::namespaced(cluster.client.clone(), &namespace.name);
    api.delete(&genuine.name_any(), &DeleteParams::default()).await?;
    let mut forged = lookalike(&genuine, &Pair::forged(&names)?);
    forged.metadata.owner_references.clone_from(&genuine.metadata.owner_references);
    forged
        .data
        .get_or_insert_default()
        .insert("LD_PRELOAD".into(), k8s_openapi::ByteString(b"evil".to_vec()));
    let forged = api.create(&PostParams::default(), &forged).await?;
    operator.restart().await?;
    let ca = certificate::ca(&cluster.client, OPERATOR_NAMESPACE).await?;
    let now = wait_until(UNDONE, "the forged content to be replaced", async || {
        let checked = async {
            let now = api.get(&genuine.name_any()).await?;
            Pair::of(&now)?.check(&ca, &names)?;
            anyhow::Ok(now)
        };
        match checked.await {
            Ok(now) => Look::Done(now),
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    })
    .await?;
    assert_eq!(now.metadata.uid, forged.metadata.uid, "replaced in place");
    assert_eq!(now.data.unwrap_or_default().len(), 3, "the planted key stayed");
    assert_eq!(service.get().await?.uid(), live.uid());
    Ok(())
}

#[tokio::test]
async fn a_forged_secret_that_was_there_before_the_service_is_a_conflict_and_stays_as_it_is() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("early").await?;
    let _operator = Operator::start(&cluster).await?;
    let model = busy(&cluster, &namespace.name, "model").await?;
    model.made().await?;
    let genuine = certificate::tls_secret(&cluster.client, &namespace.name, "model").await?;
    let mut forged = lookalike(&genuine, &Pair::forged(&["early".to_owned()])?);
    forged.metadata.name = Some("early-tls".into());
    for value in
        forged.metadata.labels.iter_mut().flat_map(|labels| labels.values_mut()).filter(|v| *v == "model")
    {
        *value = "early".into();
    }
    let api = Api::<Secret>::namespaced(cluster.client.clone(), &namespace.name);
    let forged = api.create(&PostParams::default(), &forged).await?;
    let service = busy(&cluster, &namespace.name, "early").await?;
    let stalled = service.until_reason("NameConflict").await?;
    let message = &condition(&stalled, "TLSReady").context("no TLSReady")?.message;
    assert!(message.contains("Secret early-tls"), "{message}");
    assert!(service.child(Kind::Deployment, "early").await?.is_none(), "pods would get a stranger's key");
    assert_eq!(api.get("early-tls").await?, forged);
    Ok(())
}

/// A Secret with name, labels and type of a genuine one, and other content.
fn lookalike(genuine: &Secret, pair: &Pair) -> Secret {
    let mut forged = Secret { data: Some(pair.data()), type_: genuine.type_.clone(), ..Secret::default() };
    forged.metadata.name.clone_from(&genuine.metadata.name);
    forged.metadata.labels.clone_from(&genuine.metadata.labels);
    forged
}

fn somebody() -> PatchParams {
    PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() }
}

/// A service with every kind of child.
async fn busy(cluster: &Cluster, namespace: &str, name: &str) -> Result<Service> {
    Service::create(cluster, namespace, &named("autoscaling", name)?).await
}
