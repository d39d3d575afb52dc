//! Which plans are refused, with a word that names the field, the problem and the fix.

use serde_json::{Value, json};

use super::*;
use crate::plan::{AuditClass, WantedExtension};

fn plan(value: Value) -> Plan {
    serde_json::from_value(value).unwrap()
}

fn refused(value: Value) -> String {
    plan(value).check().unwrap_err().to_string()
}

#[test]
fn a_plan_is_read_with_its_defaults_and_written_by_the_same_words() {
    let short = plan(json!({
        "extensions": [{"name": "uuid-ossp"}, {"name": "pgaudit", "version": "1.7", "schema": "extensions"}],
        "audit": {"log": ["read", "misc_set"], "connections": true}
    }));
    assert_eq!(short.check(), Ok(()));
    let audit = short.audit.clone().unwrap();
    assert_eq!(
        (audit.role(), &audit.scope, audit.rows, audit.parameters),
        ("pgaudit_admin", &Scope::Database, false, false)
    );
    assert_eq!(audit.log, [AuditClass::Read, AuditClass::MiscSet]);
    assert_eq!(plan(serde_json::to_value(&short).unwrap()), short);
    let scoped: Audit = serde_json::from_value(json!({"log": ["all"], "scope": {"role": "app"}})).unwrap();
    assert_eq!(scoped.scope, Scope::Role("app".into()));
    assert_eq!(plan(json!({})).check(), Ok(()));
}

#[test]
fn unknown_words_are_refused() {
    for bad in [
        json!({"extension": []}),
        json!({"extensions": [{"name": "plpython3u"}]}),
        json!({"extensions": [{"name": "pgcrypto\"; DROP ROLE x"}]}),
        json!({"extensions": [{"name": "pgcrypto", "cascade": true}]}),
        json!({"audit": {"log": ["none"]}}),
        json!({"audit": {"log": ["all"], "scope": "cluster"}}),
    ] {
        assert!(serde_json::from_value::<Plan>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn a_name_that_is_not_plain_is_refused_and_not_repeated() {
    let long = "a".repeat(64);
    let hostile = [
        "",
        "9a",
        "Public",
        "a b",
        "a\"",
        "a'; DROP TABLE x; --",
        "\\! id",
        "a\0",
        "a\n",
        "ä",
        "a-b",
        &long,
        "pg_temp",
        "pg_catalog",
        "pg_temp_3",
        "pg_read_all_data",
    ];
    for name in hostile {
        for (field, value) in [
            ("extensions[0].schema", json!({"extensions": [{"name": "citext", "schema": name}]})),
            (
                "audit.role",
                json!({"extensions": [{"name": "pgaudit"}], "audit": {"log": ["all"], "role": name}}),
            ),
            (
                "audit.scope.role",
                json!({"extensions": [{"name": "pgaudit"}], "audit": {"log": ["all"], "scope": {"role": name}}}),
            ),
        ] {
            let said = refused(value);
            assert!(said.starts_with(&format!("{field}: ")) && said.contains("; "), "{said}");
            assert!(name.len() < 4 || name == "pg_temp" || !said.contains(name), "{said}");
        }
    }
    for role in ["public", "none"] {
        let said =
            refused(json!({"extensions": [{"name": "pgaudit"}], "audit": {"log": ["all"], "role": role}}));
        assert_eq!(said, "audit.role: is a word that Postgres takes for no role; name a role");
    }
    let said = refused(json!({"extensions": [{"name": "citext", "schema": "information_schema"}]}));
    assert_eq!(said, "extensions[0].schema: is a schema of the server's own; use a schema of your own");
    let plain = json!({"extensions": [{"name": "citext", "schema": "_a9"}, {"name": "pgcrypto", "schema": "a".repeat(63)}]});
    assert_eq!(plan(plain).check(), Ok(()));
}

#[test]
fn a_version_that_is_none_is_refused() {
    for version in ["", "1.3'", "1.3; DROP", "1 3", "1.3\n", &"1".repeat(33)] {
        let said = refused(json!({"extensions": [{"name": "citext", "version": version}]}));
        assert!(said.starts_with("extensions[0].version: is not a version; write"), "{said}");
    }
    let good = |version: &str| WantedExtension {
        name: Extension::Citext,
        version: Some(version.into()),
        schema: None,
    };
    for version in ["1.3", "1.10-beta_2", &"1".repeat(32)] {
        assert_eq!(Plan { extensions: vec![good(version)], audit: None }.check(), Ok(()), "{version}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let both = json!([{"name": "pgaudit"}, {"name": "pgcrypto"}]);
    assert_eq!(
        refused(json!({"extensions": both, "audit": {"log": ["all"], "parameters": true}})),
        "audit.parameters: with pgcrypto would write every key and every plain text that a statement hands over into the \
         log; set it to false"
    );
    let alone = json!({"extensions": [{"name": "pgaudit"}], "audit": {"log": ["all"], "parameters": true}});
    assert_eq!(plan(alone).check(), Ok(()));
    let said = refused(json!({"extensions": [{"name": "pgcrypto"}], "audit": {"log": ["all"]}}));
    assert_eq!(
        said,
        "audit: needs the extension pgaudit, which is not asked for; add {name: pgaudit} to extensions"
    );
    let said = refused(json!({"extensions": both, "audit": {"log": []}}));
    assert_eq!(said, "audit.log: is empty, so nothing would be audited; write [all]");
    let said = refused(json!({"extensions": both, "audit": {"log": ["ddl", "read", "ddl"]}}));
    assert_eq!(said, "audit.log: has a class twice; name each class once");
    let said = refused(json!({"extensions": [{"name": "citext"}, {"name": "citext", "schema": "other"}]}));
    assert_eq!(said, "extensions[1].name: is there twice; name each extension once");
}
