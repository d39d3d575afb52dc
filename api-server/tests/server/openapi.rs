//! The OpenAPI document against the running service: what an independent tool makes of it.

use std::process::Command;

use serde_json::Value;
use testbed::parts;

use crate::{backed::Backed, client::get, provider::Provider};

/// The document as it is committed.
fn committed() -> Value {
    serde_json::from_str(include_str!("../../openapi.json")).unwrap()
}

/// Each operation of the document: method and path with an id in place of each parameter.
pub fn operations() -> Vec<(String, String)> {
    let document = committed();
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let path = path.replace("{id}", "0190a0b0-0000-7000-8000-000000000000");
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    all.collect()
}

#[test]
fn what_is_served_is_what_is_committed_and_every_operation_has_a_route() {
    let backed = Backed::start();
    let admin = backed.account("root@example.com", "admin");
    let served = get(backed.service.api, "/openapi.json").json();
    assert_eq!(served, committed());
    assert_eq!(served["openapi"], "3.1.0");
    let operations = operations();
    assert!(operations.len() >= 18, "{operations:?}");
    for (method, path) in operations {
        let answer = admin.ask(&method, &path, None);
        let detail = answer.body.contains("nothing at this path");
        assert!(!detail && answer.status != 405, "{method} {path}: {answer:?}");
        let other = admin.ask("PATCH", &path, None);
        assert!(other.status == 405 && other.header("allow").contains(&method), "{method} {path}: {other:?}");
    }
}

fn schemathesis(examples: &str, more: &[&str]) {
    let provider =
        Provider::start(&[(200, r#"{"choices": [{"message": {"content": "Cats."}}], "text": "Miaow."}"#)]);
    let backed = Backed::with(&[("AI_BASE_URL", &provider.url()), ("AI_API_KEY", "sk-key-of-the-service")]);
    let admin = backed.account("root@example.com", "admin");
    admin.video("Cats");
    let mut run: Command = parts::schemathesis().unwrap();
    let token = format!("Authorization: Bearer {}", admin.access);
    let document = format!("http://{}/openapi.json", backed.service.api);
    let folder = tempfile::tempdir().unwrap();
    run.args(["run", &document, "--header", &token, "--max-examples", examples, "--seed", "1"]).args(more);
    let output = run.current_dir(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("passed"), "{text}");
    let failed: Vec<_> = backed.service.log().into_iter().filter(|line| line["status"] == 500).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn twenty_examples_of_each_operation_are_answered_as_the_document_says() {
    schemathesis("20", &[]);
}

#[test]
#[ignore = "soak"]
fn all_checks_of_schemathesis_find_nothing() {
    schemathesis("200", &["--checks", "all"]);
}
