//! Whether `tilt up` would find what the Tiltfile and the Dockerfiles name. Starlark and Helm are real, Tilt's functions are
//! stubs; it needs neither a cluster nor an engine for containers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a mistake that is not found fails the test")]

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use testbed::dockerfile::{self, Files};
use testbed::state::checkout;
use testbed::tiltfile;

/// The checkout's Tiltfile with a change in it.
fn changed(from: &str, to: &str) -> Result<String> {
    let text = std::fs::read_to_string(checkout().join("Tiltfile"))?;
    ensure!(text.contains(from), "the Tiltfile has no {from}: this test must follow it");
    Ok(text.replace(from, to))
}

fn refuses(mistakes: &[(&str, &str, &str)]) -> Result<()> {
    for (from, to, words) in mistakes {
        let refused = format!("{:#}", tiltfile::check(&changed(from, to)?).expect_err(to));
        assert!(refused.contains(words), "{to}: {refused}");
    }
    Ok(())
}

#[test]
fn the_tiltfile_evaluates_and_all_that_it_names_is_there() -> Result<()> {
    tiltfile::check(&changed("", "")?)
}

#[test]
fn a_tiltfile_that_does_not_evaluate_is_refused() -> Result<()> {
    refuses(&[
        ("def namespace(", "def namespace", "got ',', want '('"),
        ("sample['metadata']['name']", "sample['metadata']['nam']", "key \"nam\" not in dict"),
        ("k8s_yaml(encode_yaml(sample))", "k8s_yaml(sample)", "is neither a path nor content"),
        ("helm(\n", "helm_template(\n", "undefined: helm_template"),
        (
            "namespace('hardened-system'), ",
            "namespace('studio'), ",
            "studio:namespace:default:core is there twice",
        ),
    ])
}

#[test]
fn a_path_that_does_not_exist_is_refused() -> Result<()> {
    refuses(&[
        ("'crds/src'", "'crd/src'", "local_resource: crd/src does not exist"),
        ("'hack/images.sh'", "'hack/image.sh'", "hack/image.sh does not exist"),
        ("'dist', dockerfile", "'dits', dockerfile", "docker_build: dits does not exist"),
        ("package + '/Dockerfile'", "package + '/Dockerfil'", "read operator/Dockerfil: No such file"),
        ("only=[program]", "only=[package]", "dist/operator does not exist"),
        (
            "'charts/hardened-operator'",
            "'chart/hardened-operator'",
            "chart/hardened-operator/Chart.yaml does not exist",
        ),
        ("'crds/yaml/", "'crds/yml/", "read crds/yml/hardened.dev_hardenedservices.yaml: No such file"),
        ("'examples/minimal-", "'examples/least-", "examples/least-development.yaml: no such file"),
    ])
}

#[test]
fn a_keyword_that_tilt_does_not_know_is_refused() -> Result<()> {
    refuses(&[
        ("only=", "onyl=", "docker_build: unexpected keyword argument \"onyl\""),
        ("    deps=", "    dependencies=", "local_resource: unexpected keyword argument \"dependencies\""),
        ("port_forwards=", "port_forward=", "k8s_resource: unexpected keyword argument \"port_forward\""),
        (
            "    namespace='hardened-system'",
            "    ns='hardened-system'",
            "helm: unexpected keyword argument \"ns\"",
        ),
    ])
}

#[test]
fn a_value_that_the_chart_does_not_know_is_refused() -> Result<()> {
    refuses(&[
        ("'replicas=1'", "'replica=1'", "additional properties 'replica' not allowed"),
        ("'crds.enabled=", "'crds.install=", "at '/crds': additional properties 'install' not allowed"),
        ("'replicas=1'", "'replicas=none'", "at '/replicas': got string, want integer"),
    ])
}

#[test]
fn a_resource_object_or_image_that_nothing_declares_is_refused() -> Result<()> {
    refuses(&[
        ("['compile', 'crds']", "['compile', 'crd']", "nothing declares the resource crd"),
        ("['compile', 'crds']", "'compile'", "resource_deps is no list"),
        (
            "k8s_resource('hardened-operator'",
            "k8s_resource('operator'",
            "nothing declares the workload operator",
        ),
        ("k8s_kind('HardenedService'", "k8s_kind('HardenedServices'", "nothing declares the workload hello"),
        (":customresourcedefinition", ":crd", "0 objects are named hardenedservices.hardened.dev:crd"),
        ("new_name='crds'", "new_name='compile'", "two resources are named compile"),
        ("('studio', 'api-server'", "('studios', 'api-server'", "no object uses the image studios"),
        ("{.spec.workload.image}", "{.spec.image}", "no {.spec.image} in a HardenedService"),
    ])
}

#[test]
fn a_command_that_is_not_on_the_list_and_a_hook_are_refused() -> Result<()> {
    refuses(&[
        ("--dry-run=client ", "", "local: the test has no answer for the command"),
        ("        'uninstall.removeFinalizers=false',\n", "", "which is a hook of Helm's"),
    ])
}

#[test]
fn an_image_is_one_static_program_and_what_a_dockerfile_copies_is_there() -> Result<()> {
    let files = Files::of_checkout()?;
    let dockerfiles = files.dockerfiles()?;
    assert_eq!(dockerfiles, ["api-server/Dockerfile", "operator/Dockerfile"]);
    for path in &dockerfiles {
        let text = files.read(path)?;
        let dist = BTreeMap::from([("PROGRAM".to_owned(), "dist".to_owned())]);
        dockerfile::check(&files, &text, ".", &BTreeMap::new())?;
        dockerfile::check(&files, &text, "dist", &dist)?;
        for (from, to, words) in [
            ("COPY . .", "COPY missing .", "missing does not exist in ."),
            ("--from=program", "--from=programm", "does not exist in --from=programm"),
            ("USER 65532:65532", "USER root", "user is not 65532:65532"),
            ("\nFROM scratch\n", "\nFROM debian\n", "FROM debian"),
        ] {
            assert!(text.contains(from), "{path} has no {from}");
            let refused =
                dockerfile::check(&files, &text.replace(from, to), ".", &BTreeMap::new()).unwrap_err();
            assert!(refused.to_string().contains(words), "{path}: {refused}");
        }
        // The dist folder holds the programs only, so this build must not need the sources.
        let refused = dockerfile::check(&files, &text, "examples", &dist).unwrap_err();
        assert!(refused.to_string().contains("does not exist in examples"), "{refused}");
    }
    Ok(())
}
