//! Is the certificate of a deleted service revoked in Vault, that one alone, and does the service go soon whatever Vault
//! says?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::{HardenedService, VAULT_FINALIZER};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};
use testbed::certificate::Pair;
use testbed::fixture::{OPERATOR, Service, rest};
use testbed::operator::Options;
use testbed::pieces::pieces;
use testbed::rights::{self, Right};
use testbed::vault::scene::{REVOKE, ROLE, SIGN, Scene, issuer};
use testbed::{Fault, FaultProxy, Look, Operator, wait_until};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

/// Where nobody waits for Vault.
const SOON: Duration = Duration::from_secs(15);
/// Longer than Vault is left alone after a silence.
const LATER: Duration = Duration::from_secs(80);
/// Tells the operator that it is this much later, so that of its two minutes half a minute is left.
const AHEAD: &str = "90s";

/// A service with a certificate of Vault, which it is known to have.
async fn issued(scene: &Scene) -> Result<(Service, Pair)> {
    let service = scene.service(&issuer(ROLE)).await?;
    service.made().await?;
    let pair = scene.until_issued("").await?;
    ensure!(service.get().await?.finalizers() == [VAULT_FINALIZER]);
    Ok((service, pair))
}

async fn until_gone(service: &Service, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    wait_until(limit, "the service to go", async || match service.api().get_opt(&service.name).await {
        Ok(None) => Look::Done(start.elapsed()),
        other => Look::NotYet(format!("{:?}", other.map(|service| service.map(|s| s.metadata)))),
    })
    .await
}

async fn delete(service: &Service) -> Result<()> {
    service.api().delete(&service.name, &DeleteParams::default()).await?;
    Ok(())
}

/// What Vault says of a certificate, and whether its list names it too.
fn is_revoked(scene: &Scene, pair: &Pair) -> Result<bool> {
    let serial = pair.serial()?;
    let entry =
        scene.vault.call("GET", &format!("pki/cert/{}", serial.trim_start_matches("00:")), &Value::Null)?;
    let revoked = entry["data"]["revocation_time"].as_u64().context("no entry")? > 0;
    let list = scene.vault.call("GET", "pki/cert/crl", &Value::Null)?;
    let list = parse_x509_pem(list["data"]["certificate"].as_str().context("no list")?.as_bytes())?.1;
    let (_, list) = CertificateRevocationList::from_der(&list.contents)?;
    let listed = list.iter_revoked_certificates().any(|entry| entry.raw_serial_as_string() == serial);
    ensure!(revoked == listed, "{serial}: revoked {revoked}, listed {listed}");
    Ok(revoked)
}

/// Waits for the event about the end of a service that has these words, and gives its type.
async fn told(scene: &Scene, reason: &str, words: &str) -> Result<String> {
    let events = Api::<Event>::namespaced(scene.cluster.client.clone(), &scene.namespace.name);
    let of = |event: &Event| {
        event.reason.as_deref() == Some(reason)
            && event.note.as_ref().is_some_and(|note| note.contains(words))
    };
    wait_until(SOON, &format!("the event {reason} with {words:?}"), async || {
        let events = events.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        match events.iter().find(|event| of(event)) {
            Some(event) => Look::Done(event.type_.clone().unwrap_or_default()),
            None => Look::NotYet(events.into_iter().map(|event| event.note).collect::<Vec<_>>()),
        }
    })
    .await
}

#[tokio::test]
async fn the_certificate_of_a_deleted_service_is_revoked_and_another_s_is_not() -> Result<()> {
    let scene = Scene::set("revoke", &json!({})).await?;
    let env = vec![("RUST_LOG".into(), "trace,vaultrs=trace,rustify=trace".into())];
    let operator = Operator::start_with(&scene.cluster, Options { env, ..scene.options() }).await?;
    scene.let_in("stand")?;
    let other = scene.named("stand", &issuer(ROLE)).await?;
    other.made().await?;
    let secret =
        testbed::certificate::tls_secret(&scene.cluster.client, &scene.namespace.name, "stand").await?;
    let theirs = Pair::of(&secret)?;
    let (service, pair) = issued(&scene).await?;
    ensure!(!is_revoked(&scene, &pair)?);
    // The seal tells who gave it: neither a spec that names something else nor a pause of all other work matters.
    let elsewhere = json!({"issuer": {"vaultPki": {"connection": "else"}}});
    service.patch(&json!({"spec": {"suspend": true, "tls": elsewhere}})).await?;
    delete(&service).await?;
    until_gone(&service, SOON).await?;
    ensure!(is_revoked(&scene, &pair)?, "it is still trusted");
    ensure!(!is_revoked(&scene, &theirs)?, "another's is revoked");
    ensure!(other.get().await?.finalizers() == [VAULT_FINALIZER]);
    let serial = pair.serial()?;
    ensure!(told(&scene, "CertificateRevoked", serial.trim_start_matches("00:")).await? == "Normal");

    let answers = scene.answers(REVOKE)?;
    ensure!(answers.len() == 1, "{answers:#?}");
    let account = &answers[0]["auth"]["metadata"]["service_account_name"];
    ensure!(account == "shop", "asked as {account}");
    let log = operator.log();
    ensure!(log.contains(r#""level":"TRACE""#), "the log does not trace");
    for (place, text) in
        [("the log", log), ("Vault's audit log", Value::from(scene.vault.audited()?).to_string())]
    {
        let found = pieces(pair.key.as_bytes()).into_iter().find(|piece| text.contains(piece));
        ensure!(found.is_none(), "a piece of the key is in {place}");
    }
    Ok(())
}

#[tokio::test]
async fn where_the_policy_does_not_allow_it_the_service_goes_at_once_with_a_warning() -> Result<()> {
    let scene = Scene::set("revoke-policy", &json!({})).await?;
    scene.vault.policy("certificates", SIGN)?;
    let mut operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, pair) = issued(&scene).await?;
    delete(&service).await?;
    until_gone(&service, SOON).await?;
    ensure!(told(&scene, "NotRevoked", "Vault refuses pki/revoke-with-key (403)").await? == "Warning");
    ensure!(!is_revoked(&scene, &pair)?);

    // So it does where the platform took the connection away.
    let again = scene.service(&issuer(ROLE)).await?;
    again.made().await?;
    operator.stop().await?;
    delete(&again).await?;
    operator.restart_with(&scene.cluster, Options::default()).await?;
    until_gone(&again, SOON).await?;
    told(&scene, "NotRevoked", "no vaultConnections.default any more").await.map(drop)
}

#[tokio::test]
async fn while_vault_is_silent_it_is_asked_again_and_a_later_answer_counts() -> Result<()> {
    let scene = Scene::set("revoke-silent", &json!({})).await?;
    let operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, pair) = issued(&scene).await?;
    scene.vault.signal(Signal::STOP);
    delete(&service).await?;
    wait_until(SOON, "the first attempt to fail", async || match operator.log() {
        log if log.contains("the certificate is not revoked yet") => Look::Done(()),
        log => Look::NotYet(log.lines().last().map(str::to_owned)),
    })
    .await?;
    let waiting = service.get().await?;
    ensure!(waiting.metadata.deletion_timestamp.is_some() && waiting.finalizers() == [VAULT_FINALIZER]);
    scene.vault.signal(Signal::CONT);
    until_gone(&service, LATER).await?;
    ensure!(is_revoked(&scene, &pair)?);
    Ok(())
}

#[tokio::test]
async fn a_vault_that_stays_down_holds_the_service_for_two_minutes_and_no_longer() -> Result<()> {
    let mut scene = Scene::set("revoke-down", &json!({})).await?;
    let env = vec![("HARDENED_CLOCK".into(), AHEAD.into())];
    let _operator = Operator::start_with(&scene.cluster, Options { env, ..scene.options() }).await?;
    let (service, _) = issued(&scene).await?;
    scene.vault.stop();
    delete(&service).await?;
    let took = until_gone(&service, Duration::from_secs(40)).await?;
    ensure!(took > Duration::from_secs(15), "given up after {took:?}");
    ensure!(told(&scene, "NotRevoked", "does not answer").await? == "Warning");
    Ok(())
}

#[tokio::test]
async fn a_namespace_is_deleted_as_a_whole_and_nothing_holds_it() -> Result<()> {
    let scene = Scene::set("revoke-namespace", &json!({})).await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    issued(&scene).await?;
    let namespaces = Api::<Namespace>::all(scene.cluster.client.clone());
    namespaces.delete(&scene.namespace.name, &DeleteParams::default()).await?;
    wait_until(LATER, "the namespace to go", async || match namespaces.get_opt(&scene.namespace.name).await {
        Ok(None) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

#[tokio::test]
async fn a_namespace_that_is_onboarded_no_more_holds_no_service() -> Result<()> {
    let scene = Scene::set("revoke-offboarded", &json!({})).await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, pair) = issued(&scene).await?;
    let bindings = Api::<RoleBinding>::namespaced(scene.cluster.client.clone(), &scene.namespace.name);
    bindings.delete("hardened-operator", &DeleteParams::default()).await?;
    let read = Right { verb: "get".into(), group: String::new(), resource: "secrets".into(), name: None };
    let namespace = Some(scene.namespace.name.as_str());
    rights::until_allowed(&scene.cluster, OPERATOR, namespace, &read, false).await?;
    delete(&service).await?;
    until_gone(&service, SOON).await?;
    ensure!(told(&scene, "NotRevoked", "the operator may not get secrets").await? == "Warning");
    ensure!(!is_revoked(&scene, &pair)?);
    Ok(())
}

#[tokio::test]
async fn who_waits_for_the_children_to_go_first_waits_for_nothing_else() -> Result<()> {
    let scene = Scene::set("revoke-foreground", &json!({})).await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, pair) = issued(&scene).await?;
    service.api().delete(&service.name, &DeleteParams::foreground()).await?;
    until_gone(&service, SOON).await?;
    // Secret and account may be gone before.
    let reason = if is_revoked(&scene, &pair)? { "CertificateRevoked" } else { "NotRevoked" };
    told(&scene, reason, "").await.map(drop)
}

#[tokio::test]
async fn killed_before_the_first_request_to_vault_and_between_revocation_and_end_it_goes_on() -> Result<()> {
    let scene = Scene::set("revoke-killed", &json!({})).await?;
    let proxy = FaultProxy::start(&scene.cluster).await?;
    let options = Options { kubeconfig: Some(proxy.kubeconfig()), ..scene.options() };
    let mut operator = Operator::start_with(&scene.cluster, options).await?;
    let namespace = &scene.namespace.name;
    let path = format!("PATCH /apis/hardened.dev/v1alpha1/namespaces/{namespace}/hardenedservices/shop");
    let before = proxy.writes().len();
    proxy.kill_after_writes(1, operator.pid());
    let service = scene.service(&issuer(ROLE)).await?;
    operator.wait_end().await?;
    ensure!(proxy.writes()[before..] == [path], "the finalizer comes first: {:#?}", proxy.writes());
    ensure!(scene.counts()?[3] == 0, "Vault was asked before");
    ensure!(service.get().await?.finalizers() == [VAULT_FINALIZER]);
    operator.restart().await?;
    service.made().await?;
    let pair = scene.until_issued("").await?;

    // The events of what came before are written a while later.
    if let Some(audit) = scene.cluster.audit() {
        rest(&audit, namespace).await?;
    }
    // The first write is the token for the login, the second one takes the finalizer off: it is not tried again before
    // the operator is killed.
    proxy.fault_after(namespace, 1, Fault::Throttle(30));
    delete(&service).await?;
    wait_until(SOON, "the revocation", async || match is_revoked(&scene, &pair) {
        Ok(true) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    operator.kill().await?;
    ensure!(service.get().await?.finalizers() == [VAULT_FINALIZER], "killed too late");
    operator.restart().await?;
    until_gone(&service, SOON).await?;
    let codes: Vec<_> = scene.answers(REVOKE)?.iter().map(|answer| answer.get("error").cloned()).collect();
    ensure!(codes == [None, None], "revoked already is revoked: {codes:?}");
    told(&scene, "CertificateRevoked", "").await.map(drop)
}

#[tokio::test]
async fn a_service_with_another_issuer_has_no_finalizer_and_costs_no_request() -> Result<()> {
    let scene = Scene::set("revoke-others", &json!({})).await?;
    let Some(audit) = scene.cluster.audit() else { return Ok(()) };
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let written = async |mark| {
        let seen = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name);
        anyhow::Ok(seen.resource("hardenedservices").verb("patch").count())
    };
    let mark = audit.mark().await?;
    let service = scene.service(&json!({"issuer": {"selfSigned": {}}})).await?;
    service.made().await?;
    rest(&audit, &scene.namespace.name).await?;
    ensure!(service.get().await?.finalizers().is_empty() && written(mark).await? == 0);
    let mark = audit.mark().await?;
    delete(&service).await?;
    until_gone(&service, SOON).await?;
    rest(&audit, &scene.namespace.name).await?;
    let seen = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name);
    ensure!(seen.clone().writes().count() == 0, "{seen}");

    // A change of the issuer takes it off and revokes nothing: pods still serve what Vault gave.
    let (service, pair) = issued(&scene).await?;
    rest(&audit, &scene.namespace.name).await?;
    let mark = audit.mark().await?;
    service.patch(&json!({"spec": {"tls": {"issuer": {"vaultPki": null, "selfSigned": {}}}}})).await?;
    let free = |service: &HardenedService| service.finalizers().is_empty();
    service.until("the finalizer to be taken off", free).await?;
    service.made().await?;
    rest(&audit, &scene.namespace.name).await?;
    ensure!(written(mark).await? == 1 && !is_revoked(&scene, &pair)?);
    Ok(())
}
