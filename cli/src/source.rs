//! Reads resources from a file. Types and unknown fields are checked here; the rules of the schema are the API server's.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use crds::HardenedService;
use render::Settings;
use serde_json::Value;

/// Every `HardenedService` of a file, or of the standard input for `-`. Other kinds are left out with a note.
pub fn services(file: &Path, namespace: Option<&str>) -> Result<Vec<HardenedService>> {
    let text = read(file)?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|error| bad_yaml(file, "is not YAML", &error))?;
    let mut services = Vec::new();
    for (number, document) in documents.into_iter().enumerate().filter(|(_, document)| !document.is_null()) {
        let place = || format!("{}, document {}", file.display(), number + 1);
        if document["kind"] != "HardenedService" {
            eprintln!(
                "note: {} is a {}, left out",
                place(),
                document["kind"].as_str().unwrap_or("thing without a kind")
            );
            continue;
        }
        let mut service = service(document).with_context(place)?;
        if let Some(namespace) = namespace {
            service.metadata.namespace = Some(namespace.into());
        }
        service.metadata.namespace.get_or_insert_with(|| "default".into());
        services.push(service);
    }
    ensure!(!services.is_empty(), "{} holds no HardenedService", file.display());
    Ok(services)
}

/// The operator's settings of a file, which is the chart's value `settings`.
pub fn settings(file: &Path) -> Result<Settings> {
    serde_saphyr::from_str(&read(file)?)
        .map_err(|error| bad_yaml(file, "holds no settings of the operator", &error))
}

/// The parser's words, which show the line, after ours.
fn bad_yaml(file: &Path, what: &str, error: &serde_saphyr::Error) -> anyhow::Error {
    let error = error.to_string();
    anyhow::anyhow!("{} {what}: {}", file.display(), error.trim_start_matches("error: "))
}

/// A file's text, or that of the standard input for `-`.
pub fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("read the standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    }
    Ok(text)
}

fn service(document: Value) -> Result<HardenedService> {
    let version = format!("{}/v1alpha1", crds::GROUP);
    ensure!(document["apiVersion"] == version.as_str(), "apiVersion: must be {version}");
    ensure!(document["metadata"]["name"].is_string(), "metadata.name: is missing");
    let unknown = unknown_fields(&document)?;
    if !unknown.is_empty() {
        bail!(
            "unknown field {}; `kubectl explain hsvc.spec --recursive` lists the known ones",
            unknown.join(", ")
        );
    }
    serde_path_to_error::deserialize(document)
        .map_err(|error| anyhow::anyhow!("{}: {}", error.path().clone(), error.into_inner()))
}

fn unknown_fields(document: &Value) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for crd in crds::all() {
        for version in crd.spec.versions {
            let version = serde_json::to_value(version)?;
            for member in ["spec", "status"] {
                let schema = &version["schema"]["openAPIV3Schema"]["properties"][member];
                look(schema, &document[member], member, &mut found);
            }
        }
    }
    let top = document.as_object().into_iter().flat_map(|members| members.keys());
    found.extend(
        top.filter(|key| !["apiVersion", "kind", "metadata", "spec", "status"].contains(&key.as_str()))
            .cloned(),
    );
    Ok(found)
}

/// Walks a value beside its schema. Where the schema names no properties, it is a map and knows every key.
fn look(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if schema["additionalProperties"].is_null() => {
            for (key, value) in members {
                let path = format!("{path}.{key}");
                match schema["properties"].get(key) {
                    Some(schema) => look(schema, value, &path, found),
                    None => found.push(path),
                }
            }
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                look(&schema["items"], entry, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}
