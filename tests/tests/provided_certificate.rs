//! Is a certificate that a user provides copied as it is, is its renewal cheap, and is their Secret never written?
#![allow(clippy::unwrap_used, reason = "an object of another shape fails the test")]

use anyhow::{Context, Result};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::audit::{Audit, Mark, Request, Requests};
use testbed::fixture::{OPERATOR, example, rest};
use testbed::provided::{COPY, Provided, SOURCE, Scene, tls};
use testbed::{Cluster, Operator};

/// What the operator asked of a namespace since a mark, watches and events aside.
async fn asked(audit: &Audit, mark: Mark, scene: &Scene) -> Result<Requests> {
    rest(audit, &scene.namespace.name).await?;
    let seen = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).besides_watches();
    Ok(seen.only(|request| request.resource != "events"))
}

async fn rollouts(scene: &Scene) -> Result<Value> {
    let live = scene.service.child(Kind::Deployment, "shop").await?.context("no Deployment")?;
    Ok(live["metadata"]["generation"].clone())
}

#[tokio::test]
async fn it_is_copied_byte_for_byte_and_a_renewal_is_one_write_and_no_rollout() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let _operator = Operator::start(&cluster).await?;
    let mut first = Provided::new()?;
    // What is no PEM is passed over by whoever reads it, and copied all the same.
    first.leaf.insert_str(0, "subject=CN = shop\n");
    let scene = Scene::new(&cluster, "provided", Some(&first)).await?;
    let source = scene.secrets.get(SOURCE).await?;
    scene.service.made().await?;
    scene.until_copied(&first).await?;
    assert_eq!(scene.secrets.get(SOURCE).await?, source, "the user's Secret was written");
    let made = scene.service.get().await?;
    assert_eq!(tls(&made).0, "True");
    let status = made.status.unwrap().tls.unwrap();
    assert_eq!((status.issuer.as_deref(), status.renew_at), (Some("secret/shop-certificate"), None));
    let bundle = scene.service.child(Kind::ConfigMap, "shop-ca").await?.unwrap();
    assert_eq!(bundle["data"], json!({"ca.crt": first.root}));

    let before = rollouts(&scene).await?;
    rest(&audit, &scene.namespace.name).await?;
    let mark = audit.mark().await?;
    let second = Provided::new()?;
    let source = scene.provide(&second).await?;
    scene.until_copied(&second).await?;
    let seen = asked(&audit, mark, &scene).await?;
    let writes = seen.clone().writes();
    assert_eq!(writes.clone().resource("secrets").count(), 1, "{writes}");
    assert_eq!(writes.clone().resource("configmaps").count(), 1, "another CA: {writes}");
    assert_eq!(writes.count(), 3, "and the status: {writes}");
    assert_eq!(seen.clone().verb("get").count(), 2, "each Secret once: {seen}");
    assert_eq!(rollouts(&scene).await?, before, "a rollout");
    assert_eq!(scene.secrets.get(SOURCE).await?, source, "the user's Secret was written");
    scene.no_drift().await
}

#[tokio::test]
async fn what_is_in_place_costs_no_request_and_after_a_restart_one_get_for_each_secret() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let mut operator = Operator::start(&cluster).await?;
    let good = Provided::new()?;
    let scene = Scene::new(&cluster, "restart", Some(&good)).await?;
    scene.until_copied(&good).await?;
    scene.service.made().await?;
    let bad = Provided::with(|leaf| leaf.not_after = leaf.not_before)?;
    for (provided, word) in [(&good, "valid"), (&bad, "check expiry: ")] {
        scene.provide(provided).await?;
        scene.service.until(word, |service| tls(service).2.contains(word)).await?;
        rest(&audit, &scene.namespace.name).await?;
        let mark = audit.mark().await?;
        // A new pass over the service, without a reason.
        let label = json!({"metadata": {"labels": {"looked-at": word.len().to_string()}}});
        scene.service.patch(&label).await?;
        let seen = asked(&audit, mark, &scene).await?;
        assert_eq!(seen.count(), 0, "{word}: {seen}");

        let mark = audit.mark().await?;
        operator.kill().await?;
        operator.restart().await?;
        let seen = asked(&audit, mark, &scene).await?.only(|request| !request.name.is_empty());
        let mut gets: Vec<_> = seen.clone().verb("get").0.into_iter().map(|get| get.name).collect();
        gets.sort();
        assert_eq!(gets, [SOURCE, COPY], "{word}: {seen}");
        assert_eq!(seen.clone().only(Request::is_write).count(), 0, "{word}: {seen}");
    }
    // Renewed while nobody looked: no drift either.
    operator.kill().await?;
    let renewed = Provided::new()?;
    scene.provide(&renewed).await?;
    operator.restart().await?;
    scene.until_copied(&renewed).await?;
    scene.no_drift().await
}

#[tokio::test]
async fn another_issuer_is_one_write_and_no_rollout_in_both_directions() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let _operator = Operator::start(&cluster).await?;
    let provided = Provided::new()?;
    let scene = Scene::new(&cluster, "switch", Some(&provided)).await?;
    scene.until_copied(&provided).await?;
    scene.service.made().await?;
    let before = rollouts(&scene).await?;
    for (issuer, named) in [
        (json!({"secret": null, "selfSigned": {}}), "selfSigned/"),
        (json!({"secret": {"name": SOURCE}, "selfSigned": null}), "secret/"),
    ] {
        rest(&audit, &scene.namespace.name).await?;
        let mark = audit.mark().await?;
        scene.service.patch(&json!({"spec": {"tls": {"issuer": issuer}}})).await?;
        let made = scene.service.until(named, |service| {
            let tls = service.status.as_ref().and_then(|status| status.tls.clone());
            tls.and_then(|tls| tls.issuer).is_some_and(|issuer| issuer.starts_with(named))
        });
        assert_eq!(tls(&made.await?).0, "True");
        let writes = asked(&audit, mark, &scene).await?.writes();
        assert_eq!(writes.clone().resource("secrets").count(), 1, "{named}: {writes}");
        assert_eq!(writes.clone().resource("deployments").count(), 0, "{named}: {writes}");
    }
    scene.until_copied(&provided).await?;
    assert_eq!(rollouts(&scene).await?, before, "a rollout");
    scene.no_drift().await
}

#[tokio::test]
async fn a_copy_that_somebody_changes_or_deletes_is_made_again() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let (provided, other) = (Provided::new()?, Provided::new()?);
    let scene = Scene::new(&cluster, "copy", Some(&provided)).await?;
    scene.until_copied(&provided).await?;
    let patch = Patch::Merge(json!({"data": other.data()}));
    scene.secrets.patch(COPY, &PatchParams::default(), &patch).await?;
    scene.until_copied(&provided).await?;
    scene.secrets.delete(COPY, &DeleteParams::default()).await?;
    let copy = scene.until_copied(&provided).await?;
    assert!(copy.annotations().contains_key(crds::SEAL_ANNOTATION));
    Ok(())
}

#[tokio::test]
async fn a_secret_without_the_label_or_the_operator_s_own_copy_is_not_taken() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let scene = Scene::new(&cluster, "label", None).await?;
    let provided = Provided::new()?;
    let mut secret = provided.secret(SOURCE, "shop");
    secret.metadata.labels = None;
    scene.secrets.create(&PostParams::default(), &secret).await?;
    let refused = scene.service.until_reason("SecretNotAllowed").await?;
    let (status, _, message) = tls(&refused);
    assert!(
        status == "False" && message.starts_with("spec.tls.issuer.secret: Secret shop-certificate"),
        "{message}"
    );
    assert!(message.contains("label secret shop-certificate hardened.dev/service=shop"), "{message}");
    assert!(scene.service.child(Kind::Deployment, "shop").await?.is_none(), "pods without a certificate");
    assert!(scene.service.child(Kind::Secret, COPY).await?.is_none(), "copied in spite of the guard");
    let label = |value: Value| Patch::Merge(json!({"metadata": {"labels": {crds::SERVICE_LABEL: value}}}));
    scene.secrets.patch(SOURCE, &PatchParams::default(), &label(json!("shop"))).await?;
    scene.service.made().await?;
    let copy = scene.until_copied(&provided).await?;

    scene.secrets.patch(SOURCE, &PatchParams::default(), &label(Value::Null)).await?;
    scene.service.until_reason("SecretNotAllowed").await?;
    assert_eq!(scene.secrets.get(COPY).await?, copy, "the pair in use stays");
    let own = json!({"spec": {"tls": {"issuer": {"secret": {"name": COPY}}}}});
    scene.service.patch(&own).await?;
    let refused =
        scene.service.until("its own copy to be refused", |s| tls(s).2.contains("own copy")).await?;
    assert_eq!(tls(&refused).1, "SecretNotAllowed");
    assert_eq!(scene.secrets.get(COPY).await?, copy, "the pair in use stays");
    Ok(())
}

#[tokio::test]
async fn the_example_says_what_is_tested_here() -> Result<()> {
    let service = example("tls-secret")?;
    assert_eq!((service.name_any().as_str(), render::provided_certificate(&service)), ("shop", Some(SOURCE)));
    Ok(())
}
