//! `kubectl hardened keys` against a real API server: what is lost comes back, what differs stays, and the file is its
//! owner's alone.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use testbed::{Cluster, Namespace};

const NAMES: [&str; 2] = ["hardened-operator-ca", "hardened-operator-hmac"];

#[tokio::test(flavor = "multi_thread")]
async fn lost_keys_come_back_from_a_file_of_their_owner_s_and_others_stay() -> Result<()> {
    let (cluster, namespace) = stage().await?;
    let (secrets, folder) = (secrets(&cluster, &namespace), tempfile::tempdir()?);
    let file = folder.path().join("keys.yaml");
    let path = file.to_str().context("a path that is no text")?;
    let before = data(&secrets).await?;
    run(&cluster, &namespace, &["backup", "--out", path])?;
    assert_eq!(file.metadata()?.permissions().mode() & 0o777, 0o600);
    let refused = run(&cluster, &namespace, &["backup", "--out", path]).err().context("replaced")?;
    assert!(refused.to_string().contains("--force"), "{refused}");

    let answer = run(&cluster, &namespace, &["restore", path])?;
    assert_eq!(answer.matches("unchanged").count(), 3, "{answer}");
    secrets.delete(NAMES[0], &DeleteParams::default()).await?;
    let answer = run(&cluster, &namespace, &["restore", path])?;
    assert_eq!((answer.matches("created").count(), answer.matches("unchanged").count()), (1, 2), "{answer}");
    assert_eq!(data(&secrets).await?, before);

    let other = json!({"data": {"key": "b3RoZXI="}});
    secrets.patch(NAMES[1], &PatchParams::default(), &Patch::Merge(other)).await?;
    secrets.delete(NAMES[0], &DeleteParams::default()).await?;
    let refused = run(&cluster, &namespace, &["restore", path]).err().context("replaced")?.to_string();
    assert!(refused.contains("hardened-operator-hmac is there and differs") && refused.contains("--force"));
    assert!(secrets.get_opt(NAMES[0]).await?.is_none(), "half of a backup was restored");
    run(&cluster, &namespace, &["restore", path, "--force"])?;
    assert_eq!(data(&secrets).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_is_asked_for_by_an_annotation_and_the_status_says_how_far_it_is() -> Result<()> {
    let (cluster, namespace) = stage().await?;
    let secrets = secrets(&cluster, &namespace);
    let says = |text: &str| {
        let answer = run(&cluster, &namespace, &["status"])?;
        ensure!(answer.contains(text), "not '{text}': {answer}");
        anyhow::Ok(())
    };
    says("rotation  no rotation")?;
    for (arguments, how) in [(&["rotate"][..], "overlap"), (&["rotate", "--emergency"], "emergency")] {
        run(&cluster, &namespace, arguments)?;
        let secret = secrets.get(NAMES[0]).await?;
        assert_eq!(secret.annotations().get("hardened.dev/rotate-ca").map(String::as_str), Some(how));
    }
    says("another CA is asked for")?;
    for (key, text) in [("next", "to be trusted everywhere"), ("previous", "the previous one is trusted")] {
        let certificate = secrets.get(NAMES[0]).await?.data.unwrap_or_default()["tls.crt"].clone();
        let patch =
            json!({"data": {"next.crt": null, "previous.crt": null, format!("{key}.crt"): certificate}});
        secrets.patch(NAMES[0], &PatchParams::default(), &Patch::Merge(patch)).await?;
        says(text)?;
    }
    let wrong = run(&cluster, &namespace, &["status", "--operator-namespace", "elsewhere"]);
    let message = wrong.err().context("found keys in a namespace that is not there")?.to_string();
    assert!(message.contains("--operator-namespace") && message.contains("keys restore"), "{message}");
    Ok(())
}

/// A namespace with keys in it.
async fn stage() -> Result<(Cluster, Namespace)> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    let namespace = cluster.foreign_namespace("keys").await?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["ca".to_owned()])?.self_signed(&key)?.pem();
    let values =
        [json!({"tls.crt": certificate, "tls.key": key.serialize_pem()}), json!({"key": "k".repeat(32)})];
    for (name, values) in NAMES.into_iter().zip(values) {
        let secret = json!({"metadata": {"name": name}, "stringData": values});
        secrets(&cluster, &namespace)
            .create(&PostParams::default(), &serde_json::from_value(secret)?)
            .await?;
    }
    let ids = ConfigMap {
        metadata: ObjectMeta { name: Some("hardened-operator-keys".into()), ..ObjectMeta::default() },
        data: Some([("ca.crt".to_owned(), certificate)].into()),
        ..ConfigMap::default()
    };
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), &namespace.name);
    maps.create(&PostParams::default(), &ids).await?;
    Ok((cluster, namespace))
}

fn secrets(cluster: &Cluster, namespace: &Namespace) -> Api<Secret> {
    Api::namespaced(cluster.client.clone(), &namespace.name)
}

async fn data(secrets: &Api<Secret>) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for name in NAMES {
        all.push(serde_json::to_value(secrets.get(name).await?.data)?);
    }
    Ok(all)
}

fn run(cluster: &Cluster, namespace: &Namespace, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-hardened"));
    command.arg("keys").args(arguments);
    if !arguments.contains(&"--operator-namespace") {
        command.args(["--operator-namespace", &namespace.name]);
    }
    command.envs(cluster.kubeconfig().map(|path| ("KUBECONFIG", path)));
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
