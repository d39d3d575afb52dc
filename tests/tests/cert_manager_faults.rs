//! What does a service say, and keep, while cert-manager is missing, refuses, or somebody else stands in its place?

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::api::{DeleteParams, PostParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::audit::Request;
use testbed::cert_manager::{ISSUED, ISSUER, Scene};
use testbed::certificate::{History, Pair};
use testbed::fixture::{OPERATOR, condition, rest};
use testbed::provided::{Provided, tls};
use testbed::{Look, Operator, wait_until};

const LIMIT: Duration = Duration::from_mins(1);
/// Long enough to see a hot loop.
const WATCHED: Duration = Duration::from_secs(20);

fn issuer() -> Value {
    json!({"issuer": {"certManager": {"issuerRef": {"name": ISSUER}}}})
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn definitions_that_are_missing_are_named_and_picked_up_within_a_minute_and_missed_when_they_go()
-> Result<()> {
    let mut scene = Scene::without("cert-manager-missing").await?;
    let mark = scene.audit.mark().await?;
    let operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    rest(&scene.audit, "").await?;
    let concerning = |r: &Request| r.uri.starts_with("/apis/cert-manager.io");
    let early = scene.audit.since(mark).await?.by(OPERATOR).only(concerning);
    assert_eq!(early.count(), 0, "asked although no service needs it: {early}");

    let service = scene.service(&issuer()).await?;
    let missing = service.until_reason("CertManagerMissing").await?;
    let message = tls(&missing).2;
    assert!(
        message.contains("certificates.cert-manager.io") && message.contains("installs cert-manager"),
        "{message}"
    );
    let mark = scene.audit.mark().await?;
    tokio::time::sleep(WATCHED).await;
    let seen = scene.audit.since(mark).await?.by(OPERATOR).only(concerning);
    assert!(seen.count() <= 8, "a hot loop: {seen}");

    let begin = Instant::now();
    scene.bring().await?;
    scene.until_issued("").await?;
    let took = begin.elapsed();
    println!("SOAK the first certificate came {took:?} after cert-manager");
    assert!(took < LIMIT, "{took:?}");
    let well = service.until("all to be well", |service| tls(service).1 == "Ready").await?;
    assert_eq!(tls(&well).0, "True");

    let pair = Pair::of(&scene.secret().await?)?;
    scene.remove_definitions().await?;
    let told = service.until("the loss to be told", |service| tls(service).1 == "CertManagerMissing").await?;
    assert_eq!(tls(&told).0, "True", "the certificate in use is good: {:?}", tls(&told));
    assert_eq!(Pair::of(&scene.secret().await?)?, pair, "the pair in use stays");
    assert!(!operator.log().contains("panic"), "{}", operator.log());
    Ok(())
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn what_cert_manager_says_of_a_certificate_that_is_not_ready_stands_in_the_condition() -> Result<()> {
    let scene = Scene::set("cert-manager-unready").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    scene.remove_issuer().await?;
    let service = scene.service(&issuer()).await?;
    let told = |words: &'static str| move |service: &crds::HardenedService| tls(service).2.contains(words);
    let waiting = service.until("its words", told("Issuing certificate as Secret does not exist")).await?;
    assert_eq!(
        (tls(&waiting).0.as_str(), tls(&waiting).1.as_str()),
        ("False", "CertificateNotReady"),
        "{:?}",
        tls(&waiting)
    );
    assert!(tls(&waiting).2.contains(&format!("Certificate {ISSUED} is not ready: ")), "{}", tls(&waiting).2);
    scene.restore_issuer().await?;
    scene.until_issued("").await?;
    service.until("all to be well", |service| tls(service).1 == "Ready").await?;

    // The pair in use is good, so the service is not told to be bad: only what is wrong is.
    scene.remove_issuer().await?;
    scene.renew().await?;
    let before = Pair::of(&scene.secret().await?)?;
    rest(&scene.audit, &scene.namespace.name).await?;
    assert_eq!(tls(&service.get().await?).0, "True", "{:?}", tls(&service.get().await?));
    assert_eq!(Pair::of(&scene.secret().await?)?, before, "the pair in use stays");
    Ok(())
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn somebody_elses_certificate_of_that_name_is_left_alone_and_told() -> Result<()> {
    let scene = Scene::set("cert-manager-foreign").await?;
    // As if it were the service's: only the owner tells.
    let labels = json!({crds::SERVICE_LABEL: "shop"});
    let theirs = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": ISSUED, "labels": labels},
        "spec": {
            "secretName": ISSUED, "dnsNames": ["shop.example.com"], "issuerRef": {"name": ISSUER, "kind": "Issuer", "group": "cert-manager.io"},
            "secretTemplate": {"labels": labels},
        },
    });
    scene.certificates().create(&PostParams::default(), &serde_json::from_value(theirs)?).await?;
    let theirs =
        wait_until(LIMIT, "their certificate", async || match scene.certificates().get(ISSUED).await {
            Ok(live) if live.data["status"]["notAfter"].is_string() => Look::Done(live),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await?;
    let their_serial = Pair::of(&scene.secrets().get(ISSUED).await?)?.serial()?;
    let history = History::watch(&scene.cluster.client, &scene.namespace.name);
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let mark = scene.audit.mark().await?;
    let service = scene.service(&issuer()).await?;
    let refused = service.until_reason("NameConflict").await?;
    let message = tls(&refused).2;
    assert!(
        message.starts_with(
            "Certificate shop-issued already exists and belongs to somebody else; delete or rename it"
        ),
        "{message}"
    );
    assert!(!message.contains("adopt"), "{message}");
    rest(&scene.audit, &scene.namespace.name).await?;
    let now = scene.certificates().get(ISSUED).await?;
    assert_eq!((now.metadata.uid, &now.data["spec"]), (theirs.metadata.uid, &theirs.data["spec"]));
    let writes = scene.audit.since(mark).await?.by(OPERATOR).writes().resource("certificates");
    let writes = writes.only(|request| request.code != 409);
    assert_eq!(writes.count(), 0, "{writes}");
    assert!(service.child(Kind::Secret, "shop-tls").await?.is_none(), "their certificate was copied");

    // Their Secret is still there, by name, label, annotations and host as if the service's Certificate had made it.
    scene.certificates().delete(ISSUED, &DeleteParams::default()).await?;
    let serial = scene.until_issued("").await?.serial()?;
    let serials = history.serials("shop");
    assert!(!serials.contains(&their_serial) && serials.contains(&serial), "{their_serial}: {serials:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "soak: needs cert-manager, which builds for minutes"]
async fn cert_manager_is_not_made_to_write_over_a_secret_of_somebody_else() -> Result<()> {
    let scene = Scene::set("cert-manager-taken").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    for label in [None, Some("shop")] {
        let mut theirs = Provided::new()?.secret(ISSUED, "shop");
        if label.is_none() {
            theirs.metadata.labels = None;
        }
        let theirs = scene.secrets().create(&PostParams::default(), &theirs).await?;
        let service = scene.service(&issuer()).await?;
        let refused = service.until_reason("NameConflict").await?;
        let message = tls(&refused).2;
        assert!(message.starts_with("Secret shop-issued already exists"), "{message}");
        let listed = refused.status.context("no status")?.children;
        let listed = listed.into_iter().find(|child| child.kind == "Certificate").context("not listed")?;
        assert_eq!(listed.reason.as_deref(), Some("NameConflict"));
        rest(&scene.audit, &scene.namespace.name).await?;
        assert!(scene.certificates().get_opt(ISSUED).await?.is_none(), "the Certificate was made");
        assert!(service.child(Kind::Secret, "shop-tls").await?.is_none(), "their certificate was copied");
        assert_eq!(scene.secrets().get(ISSUED).await?, theirs);
        scene.secrets().delete(ISSUED, &DeleteParams::default()).await?;
        scene.until_issued("").await?;
        service
            .until("all to be well", |s| condition(s, "TLSReady").is_some_and(|c| c.reason == "Ready"))
            .await?;
        service.api().delete("shop", &DeleteParams::default()).await?;
        for secret in [ISSUED, "shop-tls"] {
            wait_until(LIMIT, "the service's objects to go", async || {
                let _ = scene.secrets().delete(ISSUED, &DeleteParams::default()).await;
                match (scene.secrets().get_opt(secret).await, scene.certificates().get_opt(ISSUED).await) {
                    (Ok(None), Ok(None)) => Look::Done(()),
                    other => Look::NotYet(format!("{other:?}")),
                }
            })
            .await?;
        }
    }
    Ok(())
}
