//! Does a service get its certificate from Vault as itself, without a request too many, and keep what it has while Vault
//! has nothing to give?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::HardenedService;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use render::Kind;
use rustix::process::Signal;
use serde_json::{Value, json};
use testbed::audit::Requests;
use testbed::certificate::{Pair, ca};
use testbed::cluster::OPERATOR_NAMESPACE;
use testbed::fixture::{OPERATOR, Service, rest};
use testbed::operator::Options;
use testbed::pieces::{objects, pieces};
use testbed::provided::{Provided, issued_by, tls};
use testbed::rights::Right;
use testbed::vault::scene::{HOST, PATHS, ROLE, Scene, issuer};
use testbed::{Look, Operator, wait_until};

const LIMIT: Duration = Duration::from_mins(3);
/// Longer than the operator waits with the next request to a Vault that has just answered.
const PAUSE: Duration = Duration::from_secs(15);

/// Tokens that the operator asked the API server for.
async fn tokens(scene: &Scene, mark: testbed::audit::Mark) -> Result<Requests> {
    let audit = scene.cluster.audit().context("no audit log")?;
    let seen = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name);
    Ok(seen.subresource("serviceaccounts", "token"))
}

#[tokio::test]
async fn a_certificate_takes_one_login_as_the_service_and_one_signature_and_then_nothing_more() -> Result<()>
{
    let scene = Scene::set("vault-pki", &json!({})).await?;
    let Some(audit) = scene.cluster.audit() else { return Ok(()) };
    let mut operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let mark = audit.mark().await?;
    let tls_of_spec = json!({
        "issuer": {"vaultPki": {"role": ROLE}}, "privateKey": {"algorithm": "RSA", "size": 2048},
        "duration": "720h", "renewBefore": "240h",
    });
    let service = scene.service(&tls_of_spec).await?;
    let made = service.made().await?;
    let pair = scene.until_issued("").await?;
    assert_eq!(scene.published().await?.trim(), scene.root.trim(), "ca.crt of the ConfigMap");
    assert_eq!(
        (tls(&made).0.as_str(), issued_by(&made)),
        ("True", format!("vaultPki/default/{ROLE}")),
        "{:?}",
        tls(&made)
    );
    assert_eq!(pair.seconds()?, 720 * 3600 + 30, "as the spec asks, and Vault's own half minute before");

    assert_eq!(scene.counts()?, [1, 1, 1, 3], "{:#?}", scene.vault.audited()?);
    let signed = scene.answers(PATHS[1])?.remove(0);
    let account = &signed["auth"]["metadata"];
    assert_eq!(
        (&account["service_account_name"], &account["service_account_namespace"]),
        (&json!("shop"), &json!(scene.namespace.name))
    );
    assert_eq!(tokens(&scene, mark).await?.count(), 1);

    let before = scene.secret().await?;
    service.patch(&json!({"metadata": {"labels": {"looked-at": "again"}}})).await?;
    rest(&audit, &scene.namespace.name).await?;
    operator.kill().await?;
    let mark = audit.mark().await?;
    operator.restart().await?;
    rest(&audit, &scene.namespace.name).await?;
    let seen = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).besides_watches();
    assert_eq!(seen.clone().writes().count(), 0, "{seen}");
    assert_eq!(scene.counts()?, [1, 1, 1, 3], "asked again: {:#?}", scene.vault.audited()?);
    assert_eq!(scene.secret().await?, before);
    Ok(())
}

#[tokio::test]
async fn a_role_or_connection_that_the_platform_does_not_list_is_refused_before_vault_hears_of_it()
-> Result<()> {
    let scene = Scene::set("vault-refused", &json!({})).await?;
    // Vault would sign with it.
    scene.vault.pki_role("other", &[HOST], &json!({}))?;
    scene.vault.policy("certificates", r#"path "pki/sign/*" { capabilities = ["update"] }"#)?;
    let before = scene.counts()?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = scene.service(&issuer("other")).await?;
    let refused = service.until_reason("VaultRoleNotAllowed").await?;
    let message = tls(&refused).2;
    assert!(
        message.starts_with("spec.tls.issuer.vaultPki.role: vaultConnections.default.pki.roles"),
        "{message}"
    );
    assert!(service.child(Kind::Secret, "shop-tls").await?.is_none(), "a certificate");
    assert!(service.child(Kind::Deployment, "shop").await?.is_none(), "pods without a certificate");

    let elsewhere = json!({"spec": {"tls": {"issuer": {"vaultPki": {"role": ROLE, "connection": "else"}}}}});
    service.patch(&elsewhere).await?;
    let refused = service.until_reason("VaultConnectionUnknown").await?;
    assert!(tls(&refused).2.contains("vaultConnections.else"), "{}", tls(&refused).2);
    assert_eq!(scene.counts()?, before, "Vault was asked: {:#?}", scene.vault.audited()?);

    service.patch(&json!({"spec": {"tls": {"issuer": {"vaultPki": {"connection": null}}}}})).await?;
    service.made().await?;
    scene.until_issued("").await?;
    Ok(())
}

#[tokio::test]
async fn while_vault_does_not_answer_the_pair_stays_and_vault_is_asked_rarely_and_then_recovers() -> Result<()>
{
    // It lives for 8 minutes, of which 5 are over when it comes: due a quarter of a minute later.
    let scene = Scene::set("vault-silent", &json!({"max_ttl": "3m", "not_before_duration": "5m"})).await?;
    let Some(audit) = scene.cluster.audit() else { return Ok(()) };
    let operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = scene.service(&issuer(ROLE)).await?;
    service.made().await?;
    let first = scene.until_issued("").await?;
    scene.vault.signal(Signal::STOP);
    let (before, mark) = (scene.secret().await?, audit.mark().await?);
    let told = |service: &HardenedService| tls(service).1 == "VaultUnreachable";
    let warned = wait_until(LIMIT, "the warning", async || match service.get().await {
        Ok(service) if told(&service) => Look::Done(service),
        other => Look::NotYet(format!("{:?}", other.map(|service| tls(&service)))),
    })
    .await?;
    assert_eq!(tls(&warned).0, "True", "the certificate in use is good: {:?}", tls(&warned));
    // Passes for another reason ask nobody.
    for label in ["one", "two", "three"] {
        service.patch(&json!({"metadata": {"labels": {"looked-at": label}}})).await?;
        rest(&audit, &scene.namespace.name).await?;
    }
    tokio::time::sleep(PAUSE).await;
    assert_eq!(tokens(&scene, mark).await?.count(), 1, "a hot loop");
    assert_eq!(scene.secret().await?, before, "the pair in use stays");
    scene.vault.signal(Signal::CONT);
    let second = scene.until_issued(&first.serial()?).await?;
    assert_ne!(first.key, second.key);
    service.until("all to be well", |service| tls(service).1 == "Ready").await?;
    let attempts = tokens(&scene, mark).await?.count();
    ensure!((2..=3).contains(&attempts), "{attempts} attempts in about a minute and a half");
    ensure!(operator.log().contains("no certificate from Vault"));
    Ok(())
}

#[tokio::test]
async fn what_somebody_puts_into_the_tls_secret_is_replaced_by_one_new_certificate() -> Result<()> {
    let scene = Scene::set("vault-swapped", &json!({})).await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = scene.service(&issuer(ROLE)).await?;
    service.made().await?;
    let first = scene.until_issued("").await?;
    tokio::time::sleep(PAUSE).await;
    // As good as Vault's by every check, and with the seal of the one before.
    let names = scene.names();
    let forged = Provided::for_names(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let secrets = kube::Api::<k8s_openapi::api::core::v1::Secret>::namespaced(
        scene.cluster.client.clone(),
        &scene.namespace.name,
    );
    let patch = Patch::Merge(json!({"data": forged.data()}));
    secrets.patch("shop-tls", &PatchParams::default(), &patch).await?;
    let second = scene.until_issued(&first.serial()?).await?;
    assert_ne!(second.key, forged.key);
    tokio::time::sleep(PAUSE).await;
    assert_eq!(scene.counts()?[..3], [2, 2, 2], "once for the service, once for the attack");
    // A seal of the operator's own, but of another service's uid or of nobody, is none.
    let patch = Patch::Merge(
        json!({"metadata": {"annotations": {crds::SEAL_ANNOTATION: "v1:0:0 vaultPki/default/web 7776000s"}}}),
    );
    secrets.patch("shop-tls", &PatchParams::default(), &patch).await?;
    scene.until_issued(&second.serial()?).await?;
    assert_eq!(scene.counts()?[1], 3);
    Ok(())
}

#[tokio::test]
async fn another_issuer_replaces_the_certificate_and_what_clients_trust_in_one_write_each() -> Result<()> {
    let scene = Scene::set("vault-switch", &json!({})).await?;
    let Some(audit) = scene.cluster.audit() else { return Ok(()) };
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = scene.service(&json!({"issuer": {"selfSigned": {}}})).await?;
    service.made().await?;
    let own = ca(&scene.cluster.client, OPERATOR_NAMESPACE).await?;
    let mut before = Pair::of(&scene.secret().await?)?;
    for (issuer, named, root) in [
        (json!({"selfSigned": null, "vaultPki": {"role": ROLE}}), "vaultPki/default/web", &scene.root),
        (json!({"vaultPki": null, "selfSigned": {}}), "selfSigned/", &own),
        (json!({"selfSigned": null, "vaultPki": {"role": ROLE}}), "vaultPki/default/web", &scene.root),
    ] {
        rest(&audit, &scene.namespace.name).await?;
        let mark = audit.mark().await?;
        service.patch(&json!({"spec": {"tls": {"issuer": issuer}}})).await?;
        let made = service.until(named, |service| issued_by(service).starts_with(named)).await?;
        assert_eq!(tls(&made).0, "True");
        let pair = Pair::of(&scene.secret().await?)?;
        assert_ne!(pair.serial()?, before.serial()?);
        assert_eq!((pair.ca.trim(), scene.published().await?.trim()), (root.trim(), root.trim()), "{named}");
        rest(&audit, &scene.namespace.name).await?;
        let writes = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).writes();
        assert_eq!(writes.clone().resource("secrets").count(), 1, "{named}: {writes}");
        assert_eq!(writes.clone().resource("configmaps").count(), 1, "{named}: {writes}");
        assert_eq!(writes.clone().resource("deployments").count(), 0, "{named}: {writes}");
        before = pair;
    }
    assert_eq!(scene.counts()?[1], 2, "one signature for each time");
    // Without an answer of Vault the own CA's stays, and clients go on trusting it.
    service.patch(&json!({"spec": {"tls": {"issuer": {"vaultPki": null, "selfSigned": {}}}}})).await?;
    service.until("the own CA", |service| issued_by(service).starts_with("selfSigned/")).await?;
    let kept = scene.secret().await?;
    scene.vault.call("DELETE", &scene.login_role("shop"), &Value::Null)?;
    service
        .patch(&json!({"spec": {"tls": {"issuer": {"selfSigned": null, "vaultPki": {"role": ROLE}}}}}))
        .await?;
    let refused = service.until_reason("VaultLoginRefused").await?;
    assert!(tls(&refused).2.contains("refuses the login of ServiceAccount"), "{}", tls(&refused).2);
    assert_eq!(scene.secret().await?, kept, "the pair in use stays");
    assert_eq!(scene.published().await?, own);
    Ok(())
}

#[tokio::test]
async fn no_key_and_no_token_reaches_logs_events_status_metrics_or_other_objects() -> Result<()> {
    let scene = Scene::set("vault-canary", &json!({})).await?;
    let store = scene.cluster.store()?;
    let before = if let Some(store) = &store { store.revision().await? } else { 0 };
    let env = vec![("RUST_LOG".into(), "trace,vaultrs=trace,rustify=trace".into())];
    let mut operator = Operator::start_with(&scene.cluster, Options { env, ..scene.options() }).await?;
    let service = scene.service(&issuer(ROLE)).await?;
    service.made().await?;
    let first = scene.until_issued("").await?;
    // What Vault refuses it likes to quote: names that are not the role's, and a login that is nobody's.
    scene.vault.pki_role(ROLE, &["else.example.com"], &json!({}))?;
    service.patch(&json!({"spec": {"tls": {"duration": "48h"}}})).await?;
    let told = |word: &'static str| move |service: &HardenedService| tls(service).2.contains(word);
    service.until("the names to be refused", told("refuses to sign with pki/sign/web (400)")).await?;
    scene.vault.call("DELETE", &scene.login_role("shop"), &Value::Null)?;
    service.patch(&json!({"spec": {"tls": {"duration": "49h"}}})).await?;
    service.until("the login to be refused", told("refuses the login of ServiceAccount")).await?;
    assert_eq!(Pair::of(&scene.secret().await?)?, first, "the pair in use stays");
    let (_, metrics) = operator.get("/metrics").await?;
    operator.stop().await?;

    let log = operator.log();
    assert!(log.contains(r#""level":"TRACE""#), "the log does not trace");
    let status = serde_json::to_string(&service.get().await?)?;
    let mut places = vec![("log", log), ("metrics", metrics), ("status", status)];
    places.extend(objects(&scene.cluster, &service).await?);
    places.push(("annotations of the Secret", format!("{:?}", scene.secret().await?.annotations())));
    // JSON web tokens begin with the first, tokens of Vault with the second; the third are words of Vault, which may quote.
    let mut secrets = ["eyJhbGciOi", "hvs.", "not allowed by this role"].map(str::to_owned).to_vec();
    secrets.extend(pieces(first.key.as_bytes()));
    for (place, text) in places {
        let found = secrets.iter().find(|secret| text.contains(*secret));
        let around = found.and_then(|found| text.find(found.as_str())).unwrap_or_default();
        let shown: String = text.chars().skip(around.saturating_sub(300)).take(400).collect();
        ensure!(found.is_none(), "{found:?} is in the {place}: {shown}");
    }
    match &store {
        Some(store) => store.has_only_in_secrets(before, &[("the key", first.key.into_bytes())]).await,
        None => Ok(()),
    }
}

#[tokio::test]
async fn without_a_connection_the_operator_lacks_two_rights_and_with_one_it_says_which_is_missing()
-> Result<()> {
    let scene = Scene::set("vault-right", &json!({})).await?;
    let rights = scene.rights().await?;
    let words = ["create serviceaccounts/token", "patch hardenedservices.hardened.dev"];
    assert_eq!(rights.each_ref().map(Right::words), words);
    let [tokens, finalizers] = rights;
    let denied = async |right| {
        let namespace = Some(scene.namespace.name.as_str());
        testbed::rights::until_allowed(&scene.cluster, OPERATOR, namespace, right, false).await
    };
    scene.grant(&[]).await?;
    denied(&tokens).await?;
    denied(&finalizers).await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service: Service = scene.service(&issuer(ROLE)).await?;
    // Without the finalizer nothing is asked that nobody would take back.
    let given = [finalizers, tokens];
    for (step, word) in [(0, words[1]), (1, words[0])] {
        scene.grant(&given[..step]).await?;
        let told = |service: &HardenedService| {
            let (_, reason, message) = tls(service);
            reason == "PermissionDenied" && message.contains(&format!("{word} in namespace"))
        };
        service.until(word, told).await?;
        assert_eq!(scene.counts()?[3], 0, "Vault was asked");
    }
    scene.grant(&given).await?;
    service.made().await?;
    scene.until_issued("").await?;
    Ok(())
}
