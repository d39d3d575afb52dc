//! `kubectl hardened cert inspect secret/NAME` against a real API server.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testbed::{Cluster, Namespace};

use crate::{Answer, tool_with};

/// Name, values, exit code, and what the answer says.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], i32, &'a str);

async fn create(cluster: &Cluster, namespace: &Namespace, name: &str, values: &[(&str, &str)]) -> Result<()> {
    let value = |(key, value): &(&str, &str)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()));
    let secret = Secret {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        data: Some(values.iter().map(value).collect::<BTreeMap<_, _>>()),
        ..Secret::default()
    };
    Api::namespaced(cluster.client.clone(), &namespace.name).create(&PostParams::default(), &secret).await?;
    Ok(())
}

fn inspect(cluster: &Cluster, namespace: &str, name: &str, more: &[&str]) -> Result<Answer> {
    let kubeconfig = cluster.kubeconfig();
    let path = kubeconfig.as_ref().map(|path| path.to_str().context("the path is not UTF-8")).transpose()?;
    let environment: Vec<_> = path.iter().map(|path| ("KUBECONFIG", *path)).collect();
    tool_with(&[&["cert", "inspect", name, "-n", namespace], more].concat(), &environment)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_judged_by_its_own_key_and_authority() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.foreign_namespace("cert").await?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(authority.clone(), KeyPair::generate()?)?;
    let stranger = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?.pem();
    let (key, other) = (KeyPair::generate()?, KeyPair::generate()?.serialize_pem());
    let leaf = CertificateParams::new(["shop.example.com".to_owned()])?.signed_by(&key, &ca)?.pem();
    let (key, ca) = (key.serialize_pem(), ca.pem());
    let secrets: [Case<'_>; 6] = [
        (
            "good",
            &[("tls.crt", &leaf), ("tls.key", &key), ("ca.crt", &ca)],
            0,
            "verified by ca.crt of secret/good",
        ),
        ("alone", &[("tls.crt", &leaf), ("tls.key", &key)], 0, "trust         not checked"),
        (
            "other",
            &[("tls.crt", &leaf), ("tls.key", &other), ("ca.crt", &ca)],
            1,
            "- keyMatch: the key of tls.key",
        ),
        ("keyless", &[("tls.crt", &leaf), ("ca.crt", &ca)], 1, "- keyMatch: tls.key of secret/keyless"),
        ("strange", &[("tls.crt", &leaf), ("tls.key", &key), ("ca.crt", &stranger)], 1, "- trust: "),
        ("empty", &[("password", "hunter2")], 2, "secret/empty has no tls.crt"),
    ];
    for (name, values, code, expected) in secrets {
        create(&cluster, &namespace, name, values).await?;
        let answer = inspect(&cluster, &namespace.name, &format!("secret/{name}"), &[])?;
        let all = answer.out + &answer.err;
        assert!(answer.code == code && all.contains(expected), "{name}: {} {all}", answer.code);
        assert!(!all.contains("hunter2"), "{all}");
    }
    let named = inspect(&cluster, &namespace.name, "secret/good", &["--server-name", "shop.example.org"])?;
    assert!(named.code == 1 && named.out.contains("- name: "), "{}", named.out);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_or_context_that_does_not_exist_could_not_be_looked_at() -> Result<()> {
    let cluster = Cluster::get().await?;
    let missing = inspect(&cluster, "default", "secret/no-such-secret", &[])?;
    assert_eq!((missing.code, missing.out.as_str()), (2, ""));
    assert!(missing.err.contains("the namespace default has no Secret no-such-secret"), "{}", missing.err);
    let nowhere = inspect(&cluster, "default", "secret/any", &["--context", "no-such-context"])?;
    assert!(nowhere.code == 2 && nowhere.err.contains("no-such-context"), "{}", nowhere.err);
    Ok(())
}
