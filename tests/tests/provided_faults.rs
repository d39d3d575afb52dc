//! Is each fault of a provided certificate told by the name of its check, once, while the previous pair stays in use?
#![allow(clippy::unwrap_used, reason = "an object of another shape fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use crds::{ChildState, HardenedService};
use k8s_openapi::ByteString;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use render::Kind;
use serde_json::json;
use testbed::fixture::{OPERATOR, rest};
use testbed::provided::{COPY, Provided, SOURCE, Scene, tls};
use testbed::{Cluster, Operator};
use time::{Duration, OffsetDateTime};

type Data = BTreeMap<String, ByteString>;

fn with(provided: &Provided, key: &str, value: &str) -> Data {
    let mut data = provided.data();
    data.insert(key.into(), ByteString(value.into()));
    data
}

/// One Secret for each check that looks at its data. The type of a Secret cannot change; it has a test of its own.
fn faults() -> Result<Vec<(&'static str, Data)>> {
    let good = Provided::new()?;
    let other = Provided::new()?;
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512)?;
    Ok(vec![
        ("size", with(&good, "tls.crt", &good.chain().repeat(5))),
        ("parsable", with(&good, "tls.key", &good.key[..good.key.len() / 2])),
        ("keyMatch", with(&good, "tls.key", &other.key)),
        ("order", with(&good, "tls.crt", &format!("{}{}", good.middle, good.leaf))),
        ("chain", with(&good, "ca.crt", &other.root)),
        ("names", Provided::for_names(&["other.example.com"])?.data()),
        ("names", Provided::for_names(&["shop.example.com", "shop.example.org"])?.data()),
        (
            "expiry",
            Provided::with(|leaf| leaf.not_after = OffsetDateTime::now_utc() - Duration::days(1))?.data(),
        ),
        ("algorithm", Provided::of_key(&p521)?.data()),
        (
            "usage",
            Provided::with(|leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])?
                .data(),
        ),
    ])
}

fn told(service: &HardenedService, check: &str) -> bool {
    let (status, reason, message) = tls(service);
    let start = format!("spec.tls.issuer.secret: Secret {SOURCE}: check {check}: ");
    status == "False" && reason == "CertificateInvalid" && message.starts_with(&start)
}

#[tokio::test]
async fn each_check_is_told_by_name_and_once_while_the_previous_pair_stays() -> Result<()> {
    let cluster = Cluster::get().await?;
    let mut operator = Operator::start(&cluster).await?;
    let good = Provided::new()?;
    let scene = Scene::new(&cluster, "faults", Some(&good)).await?;
    scene.service.made().await?;
    let copy = scene.until_copied(&good).await?;
    let bundle = scene.service.child(Kind::ConfigMap, "shop-ca").await?;
    let mut messages = BTreeSet::new();
    for (check, data) in faults()? {
        let patch = Patch::Merge(json!({"data": data}));
        let source = scene.secrets.patch(SOURCE, &PatchParams::default(), &patch).await?;
        let version = |s: &HardenedService| told(s, check) && !messages.contains(&tls(s).2);
        let service = scene.service.until(&format!("check {check} to fail"), version).await?;
        let message = tls(&service).2;
        println!("{message}");
        assert!(
            message.contains("; ") && !message.contains(". check "),
            "what is wrong; what to do: {message}"
        );
        messages.insert(message);
        assert_eq!(scene.secrets.get(COPY).await?, copy, "{check}: the pair in use stays");
        assert_eq!(scene.service.child(Kind::ConfigMap, "shop-ca").await?, bundle, "{check}");
        assert_eq!(scene.secrets.get(SOURCE).await?, source, "{check}: the user's Secret was written");
        let tls_status = service.status.unwrap().tls.unwrap();
        assert!(tls_status.issuer.unwrap().starts_with("secret/"), "{check}");
    }
    operator.kill().await?;
    operator.restart().await?;
    scene.secrets.delete(SOURCE, &DeleteParams::default()).await?;
    scene.service.until_reason("SecretNotAllowed").await?;
    let mut opaque = good.secret(SOURCE, "shop");
    opaque.type_ = Some("Opaque".into());
    scene.secrets.create(&PostParams::default(), &opaque).await?;
    messages.insert(tls(&scene.service.until("check type to fail", |s| told(s, "type")).await?).2);
    assert_eq!(scene.secrets.get(COPY).await?, copy, "the pair in use stays");
    // An image can still be changed: the pods have a certificate.
    let image = json!({"spec": {"workload": {"image": "registry.local/studio:1.4.1"}}});
    scene.service.patch(&image).await?;
    scene.service.made().await?;

    scene.secrets.delete(SOURCE, &DeleteParams::default()).await?;
    let renewed = Provided::new()?;
    scene.secrets.create(&PostParams::default(), &renewed.secret(SOURCE, "shop")).await?;
    scene.until_copied(&renewed).await?;
    scene.service.until("TLSReady again", |service| tls(service).0 == "True").await?;
    let events = scene.told("CertificateInvalid", messages.len()).await?;
    let notes: BTreeSet<_> = events.iter().filter_map(|event| event.note.clone()).collect();
    assert_eq!(notes, messages);
    let again: Vec<_> = events.iter().filter(|event| event.series.is_some()).collect();
    assert_eq!((events.len(), again.len()), (messages.len(), 0), "an event came twice: {events:#?}");
    Ok(())
}

#[tokio::test]
async fn without_a_previous_pair_the_pods_wait() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let bad = Provided::for_names(&["other.example.com"])?;
    let scene = Scene::new(&cluster, "nothing", Some(&bad)).await?;
    let service = scene.service.until_reason("CertificateInvalid").await?;
    assert!(told(&service, "names"), "{:?}", tls(&service));
    assert_eq!(deployment(&service), ChildState::Held);
    assert!(scene.service.child(Kind::Deployment, "shop").await?.is_none());
    assert!(scene.service.child(Kind::Secret, COPY).await?.is_none());
    let good = Provided::new()?;
    scene.provide(&good).await?;
    scene.until_copied(&good).await?;
    scene.service.made().await?;
    Ok(())
}

#[tokio::test]
async fn a_copy_that_was_swapped_while_the_certificate_is_no_good_is_not_trusted() -> Result<()> {
    let cluster = Cluster::get().await?;
    let mut operator = Operator::start(&cluster).await?;
    let good = Provided::new()?;
    let scene = Scene::new(&cluster, "swapped", Some(&good)).await?;
    scene.service.made().await?;
    let copy = scene.until_copied(&good).await?;
    let bad = with(&good, "tls.key", "gone");
    let patch = |data: &Data| Patch::Merge(json!({"data": data}));
    scene.secrets.patch(SOURCE, &PatchParams::default(), &patch(&bad)).await?;
    scene.service.until("check parsable to fail", |s| told(s, "parsable")).await?;
    // What was merely added is taken away again, because the seal tells that the rest is the operator's own.
    let add = Patch::Merge(
        json!({"stringData": {"planted": "x"}, "metadata": {"labels": {crds::SERVICE_LABEL: null}}}),
    );
    scene.secrets.patch(COPY, &PatchParams::default(), &add).await?;
    let copy_now = scene.until_copied(&good).await?;
    assert_eq!(copy_now.labels(), copy.labels());
    assert_eq!(deployment(&scene.service.get().await?), ChildState::Applied);

    let evil = Provided::new()?;
    scene.secrets.patch(COPY, &PatchParams::default(), &patch(&evil.data())).await?;
    let held = |s: &HardenedService| {
        tls(s).2.contains("changed by somebody else") && deployment(s) == ChildState::Held
    };
    scene.service.until("the swapped copy to be told", held).await?;
    if let Some(audit) = cluster.audit() {
        rest(&audit, &scene.namespace.name).await?;
        let mark = audit.mark().await?;
        scene.service.patch(&json!({"metadata": {"labels": {"looked-at": "again"}}})).await?;
        rest(&audit, &scene.namespace.name).await?;
        let seen = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).besides_watches();
        assert_eq!(seen.count(), 0, "it was read and told already: {seen}");
    }
    operator.kill().await?;
    operator.restart().await?;
    let image = json!({"spec": {"workload": {"image": "registry.local/studio:1.4.1"}}});
    let generation = scene.service.patch(&image).await?.metadata.generation;
    let seen = |s: &HardenedService| s.status.as_ref().is_some_and(|s| s.observed_generation == generation);
    let service = scene.service.until("a look after the restart", seen).await?;
    assert!(held(&service), "{:?}", service.status);
    let live = scene.service.child(Kind::Deployment, "shop").await?.unwrap();
    assert_eq!(live["metadata"]["generation"], 1, "a rollout with a certificate of somebody else");

    scene.provide(&good).await?;
    scene.until_copied(&good).await?;
    scene.service.made().await?;
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_certificate_is_foretold_and_noticed_without_an_event() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let end = OffsetDateTime::now_utc() + Duration::seconds(15);
    let short = Provided::with(|leaf| leaf.not_after = end)?;
    let scene = Scene::new(&cluster, "end", Some(&short)).await?;
    let soon = scene.service.until("CertificateExpiring", |s| tls(s).1 == "CertificateExpiring").await?;
    let (status, _, message) = tls(&soon);
    assert!(status == "True" && message.contains(&format!("ends on {}", end.date())), "{status}: {message}");
    let copy = scene.until_copied(&short).await?;
    assert_eq!(scene.told("CertificateExpiring", 1).await?.len(), 1);
    scene.service.until("check expiry to fail", |s| told(s, "expiry")).await?;
    assert_eq!(scene.secrets.get(COPY).await?, copy, "the pair in use stays");
    Ok(())
}

fn deployment(service: &HardenedService) -> ChildState {
    let mut children = service.status.iter().flat_map(|status| &status.children);
    children.find(|child| child.kind == "Deployment").map_or(ChildState::Failed, |child| child.state)
}

#[test]
fn the_table_has_every_check_but_the_one_of_the_type() -> Result<()> {
    let checks: BTreeSet<_> = faults()?.into_iter().map(|(check, _)| check).collect();
    assert_eq!(checks.len(), 9, "{checks:?}");
    Ok(())
}
