//! Does a service get its certificate from a real cert-manager, without a request too many, and only of an issuer that the
//! platform allows? What goes wrong is in `cert_manager_faults.rs`.

use std::time::Duration;

use anyhow::Result;
use crds::HardenedService;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::cert_manager::{ISSUED, ISSUER, Scene};
use testbed::certificate::{Pair, ca};
use testbed::cluster::{NAMESPACE_ROLE, OPERATOR_NAMESPACE};
use testbed::fixture::{OPERATOR, condition, rest};
use testbed::provided::{issued_by, tls};
use testbed::{Look, Operator, install, rights, wait_until};

const LIMIT: Duration = Duration::from_mins(1);

fn issuer(name: &str) -> Value {
    json!({"issuer": {"certManager": {"issuerRef": {"name": name}}}})
}

fn is_well(service: &HardenedService) -> bool {
    let current = service.metadata.generation;
    condition(service, "TLSReady").is_some_and(|c| c.reason == "Ready" && c.observed_generation == current)
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn a_certificate_of_the_issuer_is_copied_and_a_restart_writes_nothing_and_a_renewal_is_one_write()
-> Result<()> {
    let scene = Scene::set("cert-manager").await?;
    let mut operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let mut of_spec = issuer(ISSUER);
    of_spec["privateKey"] = json!({"algorithm": "RSA", "size": 2048});
    of_spec["duration"] = json!("720h");
    of_spec["renewBefore"] = json!("240h");
    let service = scene.service(&of_spec).await?;
    let first = scene.until_issued("").await?;
    let made = service.until("all to be well", is_well).await?;
    assert_eq!(first.seconds()?, 720 * 3600, "as the spec asks");
    assert_eq!(issued_by(&made), "certManager/Issuer/internal");
    assert!(service.child(Kind::Deployment, "shop").await?.is_some(), "no pods");
    let renewal = scene.certificates().get(ISSUED).await?.data["status"]["renewalTime"].clone();
    let shown = serde_json::to_value(made.status.and_then(|status| status.tls))?["renewAt"].clone();
    assert_eq!(shown, renewal);

    rest(&scene.audit, &scene.namespace.name).await?;
    operator.kill().await?;
    let mark = scene.audit.mark().await?;
    operator.restart().await?;
    rest(&scene.audit, &scene.namespace.name).await?;
    let seen = scene.audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).besides_watches();
    assert_eq!(seen.clone().only(testbed::audit::Request::is_write).count(), 0, "a restart wrote: {seen}");

    let mark = scene.audit.mark().await?;
    scene.renew().await?;
    let second = scene.until_issued(&first.serial()?).await?;
    assert_ne!(first.key, second.key, "rotationPolicy Always");
    rest(&scene.audit, &scene.namespace.name).await?;
    let seen = scene.audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name);
    let writes = seen.clone().writes();
    assert_eq!(writes.clone().resource("secrets").count(), 1, "{writes}");
    let others = writes.only(|r| !["secrets", "hardenedservices"].contains(&&*r.resource));
    assert_eq!(others.count(), 0, "{others}");
    let written = seen.writes().resource("secrets").only(|request| request.name != "shop-tls");
    assert_eq!(written.count(), 0, "cert-manager's Secret was written: {written}");
    assert!(is_well(&service.get().await?), "{:?}", tls(&service.get().await?));
    Ok(())
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn an_issuer_that_the_platform_does_not_list_is_never_asked() -> Result<()> {
    let scene = Scene::set("cert-manager-refused").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let mark = scene.audit.mark().await?;
    // It would sign whatever names it is asked for.
    let corporate =
        json!({"issuer": {"certManager": {"issuerRef": {"name": "corporate", "kind": "ClusterIssuer"}}}});
    let service = scene.service(&corporate).await?;
    let refused = service.until_reason("CertManagerIssuerNotAllowed").await?;
    let message = tls(&refused).2;
    assert!(
        message.starts_with(
            "spec.tls.issuer.certManager.issuerRef: certManager.issuers of the operator's settings"
        ) && message.contains("{kind: ClusterIssuer, name: corporate, group: cert-manager.io}"),
        "{message}"
    );
    rest(&scene.audit, &scene.namespace.name).await?;
    let seen = scene.audit.since(mark).await?.by(OPERATOR).only(|r| r.resource == "certificates");
    assert_eq!(seen.count(), 0, "asked although nothing is to be had: {seen}");
    assert!(service.child(Kind::Deployment, "shop").await?.is_none(), "pods without a certificate");

    let internal =
        json!({"spec": {"tls": {"issuer": {"certManager": {"issuerRef": {"name": ISSUER, "kind": null}}}}}});
    service.patch(&internal).await?;
    let pair = scene.until_issued("").await?;
    service.patch(&json!({"spec": {"tls": corporate}})).await?;
    service.until_reason("CertManagerIssuerNotAllowed").await?;
    gone(&scene).await?;
    assert_eq!(Pair::of(&scene.secret().await?)?, pair, "the pair in use stays");
    Ok(())
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn another_issuer_takes_over_when_it_has_a_pair_and_the_certificate_goes_with_the_last_need()
-> Result<()> {
    let mut scene = Scene::set("cert-manager-switch").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = scene.service(&issuer(ISSUER)).await?;
    let first = scene.until_issued("").await?;
    service.until("all to be well", is_well).await?;
    let uid = scene.certificates().get(ISSUED).await?.uid();

    let own = json!({"spec": {"tls": {"issuer": {"certManager": null, "selfSigned": {}}}}});
    service.patch(&own).await?;
    service
        .until("the own CA", |service| issued_by(service).starts_with("selfSigned/") && is_well(service))
        .await?;
    gone(&scene).await?;
    let kept = Pair::of(&scene.secret().await?)?;
    assert_eq!(kept.ca, ca(&scene.cluster.client, OPERATOR_NAMESPACE).await?);

    // Nothing of before helps, and nobody answers: the own CA's pair stays as long as that lasts.
    scene.secrets().delete(ISSUED, &DeleteParams::default()).await?;
    scene.requests_are_collected().await?;
    scene.stop_controllers();
    let back = json!({"spec": {"tls": {"issuer": {"certManager": {"issuerRef": {"name": ISSUER}}, "selfSigned": null}}}});
    service.patch(&back).await?;
    let unseen = |service: &HardenedService| tls(service).2.contains("cert-manager has not looked at it yet");
    let waiting = service.until("the wait to be told", unseen).await?;
    assert_eq!((&*tls(&waiting).0, &*tls(&waiting).1), ("False", "CertificateNotReady"));
    rest(&scene.audit, &scene.namespace.name).await?;
    assert_eq!(Pair::of(&scene.secret().await?)?, kept, "the pair in use stays");
    scene.start_controllers()?;
    let second = scene.until_issued(&first.serial()?).await?;
    service
        .until("all to be well", |service| issued_by(service).starts_with("certManager/") && is_well(service))
        .await?;
    assert_ne!(second.key, kept.key);
    assert_ne!(scene.certificates().get(ISSUED).await?.uid(), uid, "it was not deleted");
    Ok(())
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn the_certificate_comes_back_and_what_others_change_in_it_is_undone() -> Result<()> {
    let scene = Scene::set("cert-manager-drift").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = scene.service(&issuer(ISSUER)).await?;
    let first = scene.until_issued("").await?;
    service.until("all to be well", is_well).await?;
    let before = scene.certificates().get(ISSUED).await?;
    scene.certificates().delete(ISSUED, &DeleteParams::default()).await?;
    let again = wait_until(LIMIT, "the Certificate to come back", async || {
        match scene.certificates().get_opt(ISSUED).await {
            Ok(Some(live)) if live.uid() != before.uid() => Look::Done(live),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await?;
    assert_eq!(again.data["spec"], before.data["spec"]);

    // Whoever may write Certificates must not get another issuer's signature, or another instruction, into the service.
    let attack = json!({
        "metadata": {"annotations": {"cert-manager.io/issue-temporary-certificate": "true"}},
        "spec": {"issuerRef": {"kind": "ClusterIssuer", "name": "corporate"}, "isCA": true},
    });
    scene.certificates().patch(ISSUED, &PatchParams::default(), &Patch::Merge(attack)).await?;
    wait_until(LIMIT, "the change to be undone", async || match scene.certificates().get(ISSUED).await {
        Ok(live) if live.data["spec"] == before.data["spec"] && live.annotations().is_empty() => {
            Look::Done(())
        }
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    service.until("all to be well", is_well).await?;
    let second = scene.until_issued("").await?;
    assert_eq!(first.ca, second.ca);
    Ok(())
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn the_chart_grants_certificates_only_with_an_issuer_in_the_settings() -> Result<()> {
    let scene = Scene::without("cert-manager-rights").await?;
    let mut found = Vec::new();
    for role in [NAMESPACE_ROLE, "hardened-operator-cluster"] {
        let rights = rights::of_cluster_role(&scene.cluster, role).await?;
        let rights = rights.into_iter().filter(|right| right.group == "cert-manager.io");
        found.extend(rights.map(|right| format!("{} ({role})", right.words())));
    }
    let expected = [
        "get certificates.cert-manager.io (hardened-operator-namespace)",
        "create certificates.cert-manager.io (hardened-operator-namespace)",
        "update certificates.cert-manager.io (hardened-operator-namespace)",
        "delete certificates.cert-manager.io (hardened-operator-namespace)",
        "list certificates.cert-manager.io (hardened-operator-cluster)",
        "watch certificates.cert-manager.io (hardened-operator-cluster)",
    ];
    assert_eq!(found, expected);
    let usual = serde_json::to_string(&install::render(&[])?)?;
    assert!(!usual.contains("cert-manager.io\"]"), "a right without an issuer");
    Ok(())
}

/// Waits until there is no Certificate.
async fn gone(scene: &Scene) -> Result<()> {
    wait_until(LIMIT, "the Certificate to go", async || match scene.certificates().get_opt(ISSUED).await {
        Ok(None) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}
