//! What does it take to create a service, and is what was created what render says? Nothing here changes a service.
#![allow(clippy::unwrap_used, reason = "an object of another shape fails the test")]

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use crds::{HardenedService, RESTART_ANNOTATION};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use render::{Body, Facts, Kind};
use serde_json::{Value, json};
use testbed::certificate::CA_SECRET;
use testbed::cluster::OPERATOR_NAMESPACE;
use testbed::fixture::{self, OPERATOR, Service};
use testbed::{Cluster, Namespace, Operator};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::GeneralName;

struct Made {
    example: String,
    namespace: Namespace,
    service: Service,
}

/// Every example in a namespace of its own, with the Secrets that it names, until all children are there.
async fn make_examples(cluster: &Cluster) -> Result<Vec<Made>> {
    let all = fixture::examples()?.into_iter().map(|(example, service)| async move {
        let namespace = cluster.namespace("create").await?;
        fixture::bring_secrets(cluster, &namespace.name, &service).await?;
        let service = Service::create(cluster, &namespace.name, &service).await?;
        service.made().await?;
        anyhow::Ok(Made { example, namespace, service })
    });
    futures::future::try_join_all(all).await
}

#[tokio::test]
async fn each_example_is_created_with_few_requests_and_the_pods_with_all_they_need() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let _operator = Operator::start(&cluster).await?;
    let mark = audit.mark().await?;
    let made = make_examples(&cluster).await?;
    fixture::rest(&audit, "").await?;
    let seen = audit.since(mark).await?.by(OPERATOR);
    for Made { example, namespace, service } in made {
        let children = fixture::wanted(&service.get().await?).len();
        let seen = seen.clone().within(&namespace.name);
        let writes = seen.clone().writes();
        eprintln!("{example}: {children} children, {} writes, {} requests", writes.count(), seen.count());
        assert!(writes.count() <= children + 3, "{example}: {children} children took {writes}");
        assert!(seen.count() <= 2 * children + 6, "{example}: {children} children took {seen}");

        let creates: Vec<_> = writes.verb("create").0.into_iter().map(|request| request.resource).collect();
        assert_eq!(creates.len(), children, "{example}: {creates:?}");
        // Pods start with everything that there is for them. What speaks of them comes after them.
        let secrets = if example.starts_with("secrets") { 2 } else { 1 };
        let mut first = creates[..4 + secrets].to_vec();
        first.sort();
        let mut wanted = vec!["configmaps", "configmaps", "networkpolicies"];
        wanted.extend(vec!["secrets"; secrets]);
        wanted.push("serviceaccounts");
        assert_eq!(first, wanted, "{example}");
        assert_eq!(creates[4 + secrets..6 + secrets], ["services", "deployments"], "{example}: {creates:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_children_of_each_example_are_what_render_says_and_belong_to_it() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    for Made { example, service, .. } in make_examples(&cluster).await? {
        let resource = service.get().await?;
        let provided = match render::provided_certificate(&resource) {
            Some(name) => Some(data(&cluster, &service.namespace, name).await?),
            None => None,
        };
        let ca = match &provided {
            Some(provided) => provided["ca.crt"].0.clone(),
            None => data(&cluster, OPERATOR_NAMESPACE, CA_SECRET).await?["tls.crt"].0.clone(),
        };
        let facts = Facts {
            allowed_hosts: vec!["*.example.com".into()],
            ca_bundle: String::from_utf8(ca)?,
            restart_hash: restart_hash(&service).await?,
            ..Facts::default()
        };
        let children = render::desired(&resource, &facts).into_objects();
        assert_eq!(
            service.children().await?.len(),
            children.len() + render::referenced_secrets(&resource).len()
        );
        for child in children {
            let live = service.child(child.kind, &child.name).await?.context("a child is gone")?;
            let what = format!("{example}: {} {}", child.kind.as_str(), child.name);
            let owner = &live["metadata"]["ownerReferences"];
            assert_eq!(*owner, json!([owner_reference(&resource)]), "{what}");
            match child.body {
                Body::Object(desired) => assert_eq!(ours(child.kind, live), desired, "{what}"),
                Body::Secret(plan) => {
                    assert_eq!(live["type"], plan.type_, "{what}");
                    assert_eq!(live["metadata"]["labels"], json!(plan.metadata.labels), "{what}");
                    let keys: Vec<_> = live["data"].as_object().unwrap().keys().collect();
                    assert_eq!(json!(keys), json!(plan.keys), "{what}");
                    let live: Secret = serde_json::from_value(live)?;
                    match &provided {
                        _ if plan.type_ == "Opaque" => check_values(&live),
                        Some(provided) => assert_eq!(live.data.as_ref(), Some(provided), "{what}"),
                        None => check_certificate(live, &resource, &facts)?,
                    }
                }
            }
        }
    }
    Ok(())
}

/// Values of the Secrets that the examples name, under the names that these choose, and what is composed of them.
fn check_values(live: &Secret) {
    let wanted = [
        ("AI_API_KEY", "value of api-key"),
        ("DATABASE_URL", "postgres://value of username:value%20of%20password@orders-db:5432/orders"),
        (
            "DATABASE_URL",
            "postgres://value of username:value%20of%20password@ledger-db:5432/ledger?sslmode=require",
        ),
        ("DB_PASSWORD", "value of password"),
        ("DB_USER", "value of username"),
        ("signing-key.pem", "value of signing-key.pem"),
    ];
    for (name, value) in live.data.iter().flatten() {
        let found = str::from_utf8(&value.0).unwrap_or("no text");
        assert!(wanted.contains(&(name, found)), "{name}: {found}");
    }
}

async fn data(cluster: &Cluster, namespace: &str, secret: &str) -> Result<BTreeMap<String, ByteString>> {
    let secret = Api::<Secret>::namespaced(cluster.client.clone(), namespace).get(secret).await?;
    secret.data.context("a Secret without data")
}

fn owner_reference(service: &HardenedService) -> Value {
    json!({
        "apiVersion": "hardened.dev/v1alpha1",
        "kind": "HardenedService",
        "name": service.name_any(),
        "uid": service.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

async fn restart_hash(service: &Service) -> Result<String> {
    let live = service.child(Kind::Deployment, &service.name).await?.context("no Deployment")?;
    let hash = live["spec"]["template"]["metadata"]["annotations"][RESTART_ANNOTATION].as_str();
    let hash = hash.context("the pod template has no restart hash")?;
    assert!(hash.starts_with("v1:") && hash.split(':').count() == 3, "{hash}");
    Ok(hash.into())
}

/// What of a live object is the operator's: without what the server and other controllers keep in it.
fn ours(kind: Kind, mut live: Value) -> Value {
    live.as_object_mut().unwrap().remove("status");
    let metadata = live["metadata"].as_object_mut().unwrap();
    for field in ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"] {
        metadata.remove(field);
    }
    match kind {
        Kind::Deployment => drop(metadata.remove("annotations")),
        Kind::Service => {
            let spec = live["spec"].as_object_mut().unwrap();
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                assert!(spec.remove(field).is_some(), "the Service has no {field}");
            }
        }
        _ => {}
    }
    live
}

/// It is signed by the operator's CA, for exactly the names that the service may have.
fn check_certificate(secret: Secret, service: &HardenedService, facts: &Facts) -> Result<()> {
    let data: BTreeMap<_, _> = secret.data.unwrap_or_default();
    assert_eq!(data["ca.crt"].0, facts.ca_bundle.as_bytes());
    let (_, ca) = parse_x509_pem(&data["ca.crt"].0)?;
    let (_, leaf) = parse_x509_pem(&data["tls.crt"].0)?;
    let (ca, leaf) = (ca.parse_x509()?, leaf.parse_x509()?);
    leaf.verify_signature(Some(ca.public_key()))?;
    let names = leaf.subject_alternative_name()?.context("the certificate has no names")?;
    let names: Vec<_> = names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            other => format!("{other}"),
        })
        .collect();
    assert_eq!(names, render::hosts::certificate_names(service, facts));
    Ok(())
}
