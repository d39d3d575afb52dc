//! The contract with the operator: every policy that it renders is read here, and both mean the same defaults.

use std::{
    fs,
    path::{Path, PathBuf},
};

use api_server::policy::{Compiled, Policy};
use serde_json::Value;

/// The policies that the operator's own golden files hold, by folder.
fn rendered() -> Vec<(PathBuf, String)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../render/tests/golden");
    let folders = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let policies = files.filter(|file| file.to_string_lossy().ends_with("-policy.yaml"));
    policies
        .map(|file| {
            let object: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            (file, object["data"]["policy.json"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn every_policy_that_the_operator_renders_is_accepted() {
    let policies = rendered();
    assert!(policies.len() >= 10, "{}", policies.len());
    for (file, text) in policies {
        let result = Compiled::parse(text.as_bytes());
        assert!(result.is_ok(), "{}: {result:?}", file.display());
    }
}

#[test]
fn a_minimal_resource_gets_the_built_in_limits() {
    let minimal: Vec<_> =
        rendered().into_iter().filter(|(f, _)| f.to_string_lossy().contains("/minimal-")).collect();
    assert_eq!(minimal.len(), 3, "one per environment");
    for (file, text) in minimal {
        let limits = Compiled::parse(text.as_bytes()).unwrap().policy.rate_limits;
        assert_eq!(
            format!("{limits:?}"),
            format!("{:?}", Policy::default().rate_limits),
            "{}",
            file.display()
        );
    }
}
