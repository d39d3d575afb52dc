//! Every example with every child that it gives, as files that a reviewer reads. `UPDATE=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crds::HardenedService;
use render::{Body, Child, DatabaseJob, Facts, Jobs, Peer, Settings, desired};
use serde_json::{Value, json};

const JOBS: &str = "registry.local/hardened-operator@sha256:4f5d";

#[test]
fn every_example_gives_the_children_on_file() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    if std::env::var_os("UPDATE").is_some() && golden.exists() {
        fs::remove_dir_all(&golden).unwrap();
    }
    let mut expected = BTreeSet::new();
    for (example, service) in examples() {
        for (i, child) in desired(&service, &facts(&service)).into_objects().into_iter().enumerate() {
            let file = format!("{:02}-{}-{}.yaml", i + 1, child.kind.as_str().to_lowercase(), child.name);
            let path = golden.join(&example).join(file);
            let (shown, value) = (path.display().to_string(), value(child));
            if std::env::var_os("UPDATE").is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, serde_saphyr::to_string(&value).unwrap()).unwrap();
            }
            let text =
                fs::read_to_string(&path).unwrap_or_else(|e| panic!("{shown}: {e}; write it with UPDATE=1"));
            // As values: the order of keys depends on features that other crates turn on.
            let on_file: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(value, on_file, "{shown} differs; look at it and write it with UPDATE=1");
            expected.insert(path);
        }
    }
    assert_eq!(files(&golden), expected, "files of children that are no more");
}

#[test]
fn there_is_a_minimal_example_for_each_environment() {
    for environment in ["development", "staging", "production"] {
        let service = &examples()[&format!("minimal-{environment}")];
        assert_eq!(service.spec.environment.as_str(), environment);
    }
}

fn examples() -> BTreeMap<String, HardenedService> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    files(&folder)
        .into_iter()
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path)))
        .collect()
}

fn read(path: &Path) -> HardenedService {
    let text = fs::read_to_string(path).unwrap();
    let mut service: HardenedService =
        serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // Values that differ from each other, so that a swap is seen.
    service.metadata.namespace = Some("team-a".into());
    service.metadata.uid = Some("3c6e0b8a-9c15-424a-8f0d-6c2b7f1d5e90".into());
    service
}

/// Of a service whose values just changed.
fn facts(service: &HardenedService) -> Facts {
    let edge = Peer {
        namespace_labels: BTreeMap::from([("kubernetes.io/metadata.name".into(), "traefik".into())]),
        pod_labels: BTreeMap::from([("app.kubernetes.io/name".into(), "traefik".into())]),
    };
    Facts {
        settings: Settings {
            edge: vec![edge],
            jobs: Jobs { image: Some(JOBS.into()), alter_system: true },
            ..Settings::default()
        },
        allowed_hosts: vec!["*.example.com".into()],
        ca_bundle: "-----BEGIN CERTIFICATE-----\nof the operator's CA\n-----END CERTIFICATE-----\n".into(),
        ca_bundle_seal: None,
        restart_hash: "v1:key:hmac".into(),
        login: (!render::login::logins(service).is_empty()).then(|| "0123456789".into()),
        database: Some(DatabaseJob { run: "0a1b2c3d4e".into(), verify_only: false }),
        keeps_values_before: !render::login::logins(service).is_empty(),
        live_replicas: None,
    }
}

fn value(child: Child) -> Value {
    match child.body {
        Body::Object(value) => value,
        Body::Secret(plan) => json!({"metadata": plan.metadata, "type": plan.type_, "keys": plan.keys}),
    }
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { BTreeSet::from([path]) }).collect()
}
