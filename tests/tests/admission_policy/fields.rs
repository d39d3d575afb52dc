//! The fields of a HardenedService that name a Secret.

use serde_json::{Value, json};

/// Each one as a volume.
pub fn volumes(secrets: &[String]) -> Value {
    let volume = |(i, name): (usize, &String)| json!({"name": format!("v{i}"), "mountPath": format!("/data/{i}"), "secret": {"secretName": name}});
    json!({"workload": {"volumes": secrets.iter().enumerate().map(volume).collect::<Vec<_>>()}})
}

/// Each one as a source of values.
pub fn sources(secrets: &[String]) -> Value {
    let source = |name: &String| json!({"secret": {"name": name}});
    json!({"secrets": {"sources": secrets.iter().map(source).collect::<Vec<_>>()}})
}

/// Each field that names a Secret, with a spec that uses one in it.
pub fn fields(secret: &str) -> Vec<(&'static str, Value)> {
    let connection = json!({"secretRef": {"name": secret}});
    vec![
        ("spec.workload.volumes.secret.secretName", volumes(&[secret.to_owned()])),
        (
            "spec.workload.imagePullSecrets.name",
            json!({"workload": {"imagePullSecrets": [{"name": secret}]}}),
        ),
        (
            "spec.rateLimits.store.redis.secretRef.name",
            json!({"rateLimits": {"store": {"redis": {"secretRef": {"name": secret, "key": "url"}}}}}),
        ),
        ("spec.tls.issuer.secret.name", json!({"tls": {"issuer": {"secret": {"name": secret}}}})),
        ("spec.secrets.sources.secret.name", sources(&[secret.to_owned()])),
        ("spec.postgres.connection.secretRef.name", json!({"postgres": {"connection": connection}})),
        (
            "spec.postgres.connection.verifierSecretRef.name",
            json!({"postgres": {"connection": {
                "secretRef": {"name": secret}, "verifierSecretRef": {"name": secret}, "host": "db", "database": "shop",
            }}}),
        ),
        (
            "spec.postgres.tls.caSecretRef.name",
            json!({"postgres": {"connection": connection, "tls": {"caSecretRef": {"name": secret}}}}),
        ),
    ]
}
