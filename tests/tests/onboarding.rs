//! Who may have a service where, with which host names and Secrets? No pod runs here.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an object of another shape fails the test")]

use std::time::Duration;

use anyhow::{Context, Result};
use crds::{ALLOWED_HOSTS_ANNOTATION, ChildState, HardenedService, SERVICE_LABEL};
use k8s_openapi::api::core::v1::{Namespace as KubeNamespace, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::fixture::{self, Service, condition};
use testbed::{Cluster, Look, Operator, wait_until};
use x509_parser::pem::parse_x509_pem;

const SOON: Duration = Duration::from_secs(5);

fn ready(service: &HardenedService) -> (String, String, String) {
    let ready = condition(service, "Ready").unwrap().clone();
    (ready.status, ready.reason, ready.message)
}

async fn until_child(service: &Service, kind: Kind, name: &str) -> Result<Value> {
    wait_until(SOON, "the child", async || match service.child(kind, name).await {
        Ok(Some(live)) => Look::Done(live),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_until_both_halves_of_onboarding_are_there() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let example = fixture::example("minimal-production")?;
    for annotation_first in [false, true] {
        let namespace = cluster.foreign_namespace("strange").await?;
        let service = Service::create(&cluster, &namespace.name, &example).await?;
        let command = format!("kubectl hardened onboard {}", namespace.name);
        let refused = service.until_reason("NamespaceNotOnboarded").await?;
        let (status, _, message) = ready(&refused);
        assert_eq!(status, "False");
        assert!(message.contains(&command) && message.contains(ALLOWED_HOSTS_ANNOTATION), "{message}");
        assert_eq!(condition(&refused, "Stalled").unwrap().status, "True");

        if annotation_first {
            cluster.annotate(&namespace, "*.example.com").await?;
            let refused = service.until("the binding to be missed", |service| {
                condition(service, "Ready").is_some_and(|ready| ready.message.contains("RoleBinding"))
            });
            let (status, reason, message) = ready(&refused.await?);
            assert_eq!((&*status, &*reason), ("False", "NamespaceNotOnboarded"));
            assert!(message.contains(&command), "{message}");
        } else {
            cluster.bind(&namespace).await?;
            if let Some(audit) = cluster.audit() {
                fixture::rest(&audit, &namespace.name).await?;
            }
            assert_eq!(ready(&service.get().await?).1, "NamespaceNotOnboarded");
        }
        assert_eq!(service.children().await?, [], "children were made before the namespace was onboarded");

        if annotation_first {
            cluster.bind(&namespace).await?;
        } else {
            cluster.annotate(&namespace, "*.example.com").await?;
        }
        until_child(&service, Kind::Deployment, &service.name).await?;
        service.made().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_loses_its_annotation_keeps_its_children_and_says_so() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("revoked").await?;
    let example = fixture::example("minimal-production")?;
    let service = Service::create(&cluster, &namespace.name, &example).await?;
    service.made().await?;
    let before = service.children().await?.len();
    let namespaces = Api::<KubeNamespace>::all(cluster.client.clone());
    let patch = json!({"metadata": {"annotations": {ALLOWED_HOSTS_ANNOTATION: null}}});
    namespaces.patch(&namespace.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    service.until_reason("NamespaceNotOnboarded").await?;
    assert_eq!(service.children().await?.len(), before);
    Ok(())
}

#[tokio::test]
async fn a_host_outside_the_allowed_ones_is_reported_and_not_certified_until_it_is_allowed() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.onboarded("hosts", "*.example.com").await?;
    let mut example = fixture::example("studio")?;
    let exposure = example.spec.exposure.as_mut().context("the example has no exposure")?;
    exposure.hostnames = vec!["bank.example.org".into(), "studio.example.com".into()];
    let service = Service::create(&cluster, &namespace.name, &example).await?;
    let refused = service.until_reason("HostNotAllowed").await?;
    let (status, _, message) = ready(&refused);
    assert_eq!(status, "False");
    assert!(message.contains("bank.example.org") && !message.contains("studio.example.com"), "{message}");
    assert_eq!(condition(&refused, "ExposureReady").unwrap().reason, "HostNotAllowed");
    assert_eq!(refused.status.unwrap().url.as_deref(), Some("https://studio.example.com"));
    service.made().await?;
    let names = certificate_names(&service).await?;
    assert!(names.contains("studio.example.com") && !names.contains("bank.example.org"), "{names}");
    let policy = until_child(&service, Kind::ConfigMap, "studio-policy").await?.to_string();
    assert!(policy.contains("studio.example.com") && !policy.contains("bank.example.org"), "{policy}");

    cluster.annotate(&namespace, "*.example.com, bank.example.org").await?;
    wait_until(SOON, "the certificate to carry the host", async || match certificate_names(&service).await {
        Ok(names) if names.contains("bank.example.org") => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    service.until_reason("Progressing").await?;
    Ok(())
}

/// The names in the certificate of `studio`, as x509-parser prints them.
async fn certificate_names(service: &Service) -> Result<String> {
    let secret = service.child(Kind::Secret, "studio-tls").await?.context("no TLS Secret")?;
    let secret: Secret = serde_json::from_value(secret)?;
    let (_, pem) = parse_x509_pem(&secret.data.context("no data")?["tls.crt"].0)?;
    let names = pem.parse_x509()?.subject_alternative_name()?.map(|names| format!("{:?}", names.value));
    names.context("the certificate has no names")
}

#[tokio::test]
async fn a_secret_without_the_service_s_label_holds_the_pods_until_its_owner_adds_it() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("secret").await?;
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &namespace.name);
    let service = Service::create(&cluster, &namespace.name, &fixture::example("volumes")?).await?;
    let name = &service.name;
    let label = |value: Value| Patch::Merge(json!({"metadata": {"labels": {SERVICE_LABEL: value}}}));
    let held = async |what: &str| {
        let resource = service.until_reason("SecretNotAllowed").await?;
        let (status, _, message) = ready(&resource);
        let command = format!("kubectl -n {} label secret {name} {SERVICE_LABEL}={name}", namespace.name);
        assert!(status == "False" && message.contains(&command), "{what}: {message}");
        assert_eq!(condition(&resource, "Stalled").unwrap().status, "True", "{what}");
        let children = resource.status.unwrap().children;
        let deployment = children.iter().find(|child| child.kind == "Deployment").unwrap();
        assert_eq!(deployment.state, ChildState::Held, "{what}");
        anyhow::Ok(())
    };
    held("it does not exist").await?;
    let secret = json!({"metadata": {"name": name, "labels": {SERVICE_LABEL: "other"}}, "stringData": {"password": "x"}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    if let Some(audit) = cluster.audit() {
        fixture::rest(&audit, &namespace.name).await?;
    }
    held("it is labelled for another service").await?;
    assert!(service.child(Kind::Deployment, name).await?.is_none(), "pods were made in spite of the hold");

    secrets.patch(name, &PatchParams::default(), &label(json!(name))).await?;
    until_child(&service, Kind::Deployment, name).await?;
    let before = service.made().await?;
    assert_eq!(ready(&before).1, "Progressing");
    let live = secrets.get(name).await?;
    assert!(live.metadata.owner_references.is_none(), "the user's Secret was adopted");

    secrets.patch(name, &PatchParams::default(), &label(Value::Null)).await?;
    held("the label was taken away").await?;
    assert!(service.child(Kind::Deployment, name).await?.is_some(), "what already ran was deleted");
    Ok(())
}
