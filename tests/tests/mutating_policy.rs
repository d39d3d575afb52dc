//! Does a policy of the platform that changes every object, as the operator writes it, start a fight? It must not, and
//! the operator must still see an attack on top of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use render::Kind;
use serde_json::{Value, json};
use testbed::audit::Requests;
use testbed::cluster::unique;
use testbed::drift::{MALLORY, attack, essence, told, undone};
use testbed::fixture::{self, OPERATOR, Service, example};
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

/// A policy for one namespace: what it is asked about, what it adds, and where that shows.
struct Case {
    group: &'static str,
    resource: &'static str,
    kind: Kind,
    mutation: Value,
    pointer: &'static str,
    /// Adds something that the policy does not.
    attack: Value,
    told: &'static str,
}

fn cases() -> [Case; 3] {
    let container = json!({"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "evil", "image": "e"}});
    let annotation = json!({"op": "add", "path": "/metadata/annotations/service.beta.kubernetes.io~1aws-load-balancer-type", "value": "external"});
    // The node selector is one value to an apply, so only a patch can add it.
    let by_patch = json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
        r#"[JSONPatch{op: "add", path: "/spec/template/spec/nodeSelector", value: {"example.com/pool": "tenants"}}]"#}});
    let by_apply = |expression| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    [
        Case {
            group: "apps",
            resource: "deployments",
            kind: Kind::Deployment,
            mutation: by_patch,
            pointer: "/spec/template/spec/nodeSelector/example.com~1pool",
            attack: json!([container]),
            told: "spec.template.spec.containers[evil]",
        },
        Case {
            group: "apps",
            resource: "deployments",
            kind: Kind::Deployment,
            mutation: by_apply(
                r#"Object{spec: Object.spec{template: Object.spec.template{metadata: Object.spec.template.metadata{
                labels: {"example.com/cost": "team-a"}}}}}"#,
            ),
            pointer: "/spec/template/metadata/labels/example.com~1cost",
            attack: json!([container]),
            told: "spec.template.spec.containers[evil]",
        },
        // Foreign annotations of a Service are removed. One that the policy puts back with every write is what the
        // server answers, so it stays without a word; toleratedAnnotations is for those that come later.
        Case {
            group: "",
            resource: "services",
            kind: Kind::Service,
            mutation: by_apply(
                r#"Object{metadata: Object.metadata{annotations: {"example.com/class": "internal"}}}"#,
            ),
            pointer: "/metadata/annotations/example.com~1class",
            attack: json!([annotation]),
            told: "metadata.annotations.service.beta.kubernetes.io/aws-load-balancer-type",
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_policy_adds_starts_no_fight_and_hides_no_attack() -> Result<()> {
    let cluster = Cluster::get().await?;
    let mut operator = Operator::start(&cluster).await?;
    let cases = cases();
    let running = try_join_all(cases.iter().map(|case| one_life(&cluster, case))).await?;
    let restart = mark(&cluster).await?;
    operator.kill().await?;
    operator.restart().await?;
    for (case, (namespace, ..)) in cases.iter().zip(&running) {
        let again = since(&cluster, namespace, case, restart).await?;
        assert_eq!(again.clone().writes().count(), 0, "a restart writes nothing: {again}");
        assert!(again.clone().dry_runs().count() <= 1, "one question for one object and life: {again}");
    }
    Ok(())
}

/// A service under a policy: made, left alone, attacked.
async fn one_life(cluster: &Cluster, case: &Case) -> Result<(Namespace, Policy)> {
    let namespace = cluster.namespace("policy").await?;
    let policy = Policy::create(cluster, &namespace, case).await?;
    let start = mark(cluster).await?;
    let service = Service::create(cluster, &namespace.name, &example("studio")?).await?;
    service.made().await?;
    let added = live(&service, case).await?.pointer(case.pointer).cloned();
    ensure!(added.is_some(), "{} is not there: the policy did not work", case.pointer);
    let first = since(cluster, &namespace, case, start).await?;
    assert!(first.clone().writes().count() == 1 || cluster.audit().is_none(), "only the creation: {first}");
    // The Deployment controller's annotation makes it another object once, and a race is no answer.
    let asked = first.clone().dry_runs().only(|request| request.code < 300);
    assert!(asked.count() <= 2, "one question for one form of the object: {first}");

    let ticks = mark(cluster).await?;
    tick(&service).await?;
    let after = since(cluster, &namespace, case, ticks).await?;
    assert_eq!(after.count(), 0, "a status tick and an annotation of the resource ask nothing: {after}");

    on_top(cluster, &service, case).await?;
    let settled = since(cluster, &namespace, case, ticks).await?;
    // A write that lost a race against the Deployment controller changed nothing.
    let written = settled.clone().writes().only(|request| request.code < 300);
    assert!(written.count() == 1 || cluster.audit().is_none(), "one write for the attack: {settled}");
    assert_eq!(live(&service, case).await?.pointer(case.pointer), added.as_ref());
    Ok((namespace, policy))
}

/// Things that happen every minute and mean nothing: the status of the child and an annotation of the resource change.
async fn tick(service: &Service) -> Result<()> {
    for number in 0..3 {
        let status = json!({"status": {"conditions": [{
            "type": "Tick", "status": "True", "reason": "Tick", "message": format!("{number}"),
        }]}});
        let deployments = service.children_api(Kind::Deployment);
        deployments.patch_status(&service.name, &PatchParams::default(), &Patch::Merge(status)).await?;
        service
            .patch(&json!({"metadata": {"annotations": {"example.com/tick": number.to_string()}}}))
            .await?;
    }
    Ok(())
}

async fn on_top(cluster: &Cluster, service: &Service, case: &Case) -> Result<()> {
    let before = essence(&live(service, case).await?);
    let patch = Patch::Json::<Value>(serde_json::from_value(case.attack.clone())?);
    let answer = attack(service, case.kind, &service.name, &patch).await?;
    ensure!(answer.is_ok(), "{answer:?}");
    undone(service, case.kind, &service.name, |live| essence(live) == before).await?;
    let note = told(cluster, service, "DriftReverted", &[case.told, MALLORY]).await?;
    ensure!(!note.contains("example.com/"), "what the policy adds is no drift: {note}");
    Ok(())
}

async fn live(service: &Service, case: &Case) -> Result<Value> {
    service.child(case.kind, &service.name).await?.context("no such child")
}

async fn mark(cluster: &Cluster) -> Result<Option<testbed::audit::Mark>> {
    match cluster.audit() {
        Some(audit) => audit.mark().await.map(Some),
        None => Ok(None),
    }
}

/// What the operator, come to rest, has asked about objects of the policy's kind; nothing where there is no audit log.
async fn since(
    cluster: &Cluster,
    namespace: &Namespace,
    case: &Case,
    mark: Option<testbed::audit::Mark>,
) -> Result<Requests> {
    let (Some(audit), Some(mark)) = (cluster.audit(), mark) else { return Ok(Requests(Vec::new())) };
    fixture::rest(&audit, &namespace.name).await?;
    let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name).besides_watches();
    Ok(seen.resource(case.resource))
}

/// A policy and its binding; both go when this is dropped.
struct Policy {
    client: Client,
    name: String,
}

impl Policy {
    /// Creates them and waits until the server obeys.
    async fn create(cluster: &Cluster, namespace: &Namespace, case: &Case) -> Result<Self> {
        let policy = Self { client: cluster.client.clone(), name: unique("policy") };
        let api = Api::<MutatingAdmissionPolicy>::all(policy.client.clone());
        api.create(&PostParams::default(), &serde_json::from_value(definition(&policy.name, case))?).await?;
        let bindings = Api::<MutatingAdmissionPolicyBinding>::all(policy.client.clone());
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace.name}});
        let binding = json!({
            "metadata": {"name": policy.name},
            "spec": {"policyName": policy.name, "matchResources": {"namespaceSelector": selector}},
        });
        bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
        policy.wait(namespace, case).await?;
        Ok(policy)
    }

    async fn wait(&self, namespace: &Namespace, case: &Case) -> Result<()> {
        let object = match case.kind {
            Kind::Service => json!({"metadata": {"name": "probe"}, "spec": {"ports": [{"port": 80}]}}),
            _ => json!({"metadata": {"name": "probe"}, "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
            }}),
        };
        let api = Api::namespaced_with(self.client.clone(), &namespace.name, &case.kind.api_resource());
        let object: kube::core::DynamicObject = serde_json::from_value(object)?;
        let params = PostParams { dry_run: true, ..PostParams::default() };
        wait_until(LIMIT, "the policy to be obeyed", async || match api.create(&params, &object).await {
            Ok(answer) if json!(answer).pointer(case.pointer).is_some() => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await
    }
}

fn definition(name: &str, case: &Case) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [case.group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": [case.resource],
            }]},
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [case.mutation],
        },
    })
}

impl Drop for Policy {
    fn drop(&mut self) {
        let (client, name) = (self.client.clone(), self.name.clone());
        // The test's threads are enough: one of them waits here while the other does the work.
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let params = DeleteParams::default();
                let binding =
                    Api::<MutatingAdmissionPolicyBinding>::all(client.clone()).delete(&name, &params).await;
                let policy = Api::<MutatingAdmissionPolicy>::all(client).delete(&name, &params).await;
                if binding.is_err() || policy.is_err() {
                    eprintln!("policy {name} was not deleted: {binding:?} {policy:?}");
                }
            });
        });
    }
}
