//! Which values a workload can have, how they are composed, and what differs.

use serde_json::{Value, json};

use super::*;

fn service(secrets: &Value) -> HardenedService {
    serde_json::from_value(json!({
        "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "metadata": {"name": "shop"},
        "spec": {"environment": "staging", "secrets": secrets, "workload": {
            "image": "example.com/app:1", "env": [{"name": "MINE", "value": "1"}],
        }}
    }))
    .unwrap()
}

fn values(all: &[(&str, &str)]) -> Values {
    let mut values = Values::default();
    for (name, value) in all {
        values.set((*name).into(), (*value).into());
    }
    values
}

fn template(text: &str) -> SecretTemplate {
    SecretTemplate { name: "URL".into(), template: text.into() }
}

#[test]
fn a_value_is_composed_of_others_and_encoded_where_it_is_asked_for() {
    for (text, expected) in [
        ("postgres://{{USER}}:{{ PASSWORD | urlencode }}@db/app", "postgres://app:p%40%2F%20ss~@db/app"),
        ("{{PASSWORD}}", "p@/ ss~"),
        ("nothing }} special", "nothing }} special"),
    ] {
        let mut all = values(&[("USER", "app"), ("PASSWORD", "p@/ ss~")]);
        all.compose(&template(text)).unwrap();
        assert_eq!(all.text("URL"), Some(expected), "{text}");
    }
}

#[test]
fn a_template_that_cannot_be_filled_says_why_and_repeats_nothing_of_it() {
    for (text, why) in [
        ("{{hunter2}}", "no source has"),
        ("{{USER", "without }}"),
        ("{{USER|hunter2}}", "another word than urlencode"),
    ] {
        let problem = values(&[("USER", "app")]).compose(&template(text)).unwrap_err();
        assert!(
            problem.contains(why) && problem.contains("URL") && !problem.contains("hunter2"),
            "{problem}"
        );
    }
}

#[test]
fn names_and_values_that_a_workload_cannot_have_are_refused_by_name() {
    let env = service(&json!({"sources": [], "required": ["NEEDED"]}));
    let files = service(&json!({"sources": [], "delivery": "files"}));
    let long = "x".repeat(128 * 1024);
    for (name, value, by_env, by_files) in [
        ("GOOD_1", "v", None, None),
        ("a b", "v", Some("environment variable"), Some("none of a file")),
        ("1a", "v", Some("environment variable"), None),
        ("", "v", Some("(empty)"), Some("(empty)")),
        ("..", "v", Some("environment variable"), Some("none of a file")),
        ("LD_PRELOAD", "v", Some("not allowed"), None),
        ("KUBERNETES_SERVICE_HOST", "v", Some("not allowed"), None),
        ("PATH", "v", Some("not allowed"), None),
        ("TLS_DIR", "v", Some("set by the operator"), None),
        ("MINE", "v", Some("spec.workload.env"), None),
        ("NUL", "a\0b", Some("no text"), None),
        ("LONG", &long, Some("too long"), None),
    ] {
        for (service, expected) in [(&env, by_env), (&files, by_files)] {
            let verdict = values(&[("NEEDED", "v"), (name, value)]).check(service);
            match expected {
                None => assert_eq!(verdict, Ok(()), "{name:?}"),
                Some(why) => {
                    assert!(verdict.clone().is_err_and(|e| e.contains(why)), "{name:?}: {verdict:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_missing_or_too_much_is_refused() {
    let env = service(&json!({"sources": [], "required": ["NEEDED"]}));
    let told = |values: &Values| values.check(&env).unwrap_err();
    assert!(told(&values(&[("OTHER", "v")])).contains("no source has NEEDED"));
    let part = "x".repeat(100 * 1024);
    let mut much = values(&[("NEEDED", "v")]);
    (0..11).for_each(|number| much.set(format!("N{number}"), part.clone().into()));
    assert!(told(&much).contains("1126401 bytes"), "{}", told(&much));
    let mut many = values(&[("NEEDED", "v")]);
    (0..512).for_each(|number| many.set(format!("N{number}"), Vec::new()));
    assert!(told(&many).contains("513 names"));
}

#[test]
fn bytes_that_are_no_text_are_for_files_only() {
    let mut all = values(&[]);
    all.set("KEYSTORE".into(), vec![0xff, 0xfe]);
    assert!(all.check(&service(&json!({"sources": []}))).is_err());
    assert_eq!(all.check(&service(&json!({"sources": [], "delivery": "files"}))), Ok(()));
}

#[test]
fn differing_names_are_those_that_changed_came_or_went() {
    let (old, new) =
        (values(&[("A", "1"), ("B", "2"), ("C", "3")]), values(&[("A", "1"), ("B", "x"), ("D", "4")]));
    assert_eq!(new.differing(&old), ["B", "C", "D"]);
}
