//! Is a change undone that comes after a write of the operator's and before its answer? The watch shows it first, and the
//! answer, which knows nothing of it, must not be taken for the last word.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::Patch;
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::{UNDONE, attack, essence, undone};
use testbed::fixture::{self, Service, example};
use testbed::operator::Options;
use testbed::{Cluster, FaultProxy, Operator};

/// So long an answer is held back: the watch is faster than that.
const HELD: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_between_a_write_and_its_answer_is_undone() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("race").await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let options = Options { kubeconfig: Some(proxy.kubeconfig()), ..Options::default() };
    let _operator = Operator::start_with(&cluster, options).await?;
    let service = Service::create(&cluster, &namespace.name, &example("studio")?).await?;
    service.made().await?;
    let cases = [
        (Kind::ServiceAccount, "", json!({"metadata": {"labels": {"hardened.dev/service": null}}})),
        (Kind::ConfigMap, "-policy", json!({"data": {"policy.json": "{}"}})),
        (Kind::Secret, "-tls", json!({"data": {"ca.crt": "eA=="}})),
        (Kind::NetworkPolicy, "", json!({"spec": {"ingress": [{}]}})),
    ];
    for (kind, suffix, change) in cases {
        let name = format!("{}{suffix}", service.name);
        if let Some(audit) = cluster.audit() {
            fixture::rest(&audit, &namespace.name).await?;
        }
        let before = service.child(kind, &name).await?.context("no such child")?;
        let (second, runtime) = (service.clone(), tokio::runtime::Handle::current());
        let (named, patch) = (name.clone(), Patch::Merge(change));
        let (done, changed) = tokio::sync::oneshot::channel();
        proxy.after_writes(1, move || {
            tokio::task::block_in_place(|| {
                let answer = runtime.block_on(attack(&second, kind, &named, &patch));
                // The test waits for it; when it has failed already, nobody does.
                let _ = done.send(answer);
                std::thread::sleep(HELD);
            });
        });
        let first = Patch::Merge::<Value>(json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}));
        ensure!(attack(&service, kind, &name, &first).await?.is_ok(), "the first change was refused");
        let after = tokio::time::timeout(UNDONE, changed).await??;
        ensure!(
            after?.is_ok_and(|after| essence(&after) != essence(&before)),
            "the second change had no effect"
        );
        undone(&service, kind, &name, |live| essence(live) == essence(&before)).await?;
    }
    Ok(())
}
