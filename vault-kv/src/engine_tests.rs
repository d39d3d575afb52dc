//! Vault's answers, as it gives them, and what is made of them.

use secrecy::ExposeSecret as _;

use super::*;

fn texts(content: Result<Content, Lack>) -> Vec<(String, String)> {
    let Ok(content) = content else { panic!("no content") };
    let text = |value: KvValue| match value {
        KvValue::Text(text) => text.expose_secret().to_owned(),
        KvValue::Unusable(what) => format!("<{what}>"),
    };
    content.values.into_iter().map(|(key, value)| (key, text(value))).collect()
}

#[test]
fn texts_are_taken_as_they_are_and_numbers_and_booleans_as_they_stand() {
    let data = r#"{"data": {
        "text": "a\"b\nü\u0000", "empty": "", "long": 123456789012345678901234567890, "exact": 0.10, "small": -1e400,
        "yes": true, "no": false, "nothing": null, "list": ["a"], "map": {"a": "b"}, "a b": "odd key", "": "no key"
    }, "lease_id": ""}"#;
    let found = texts(Engine::One.content(data.as_bytes()));
    let wanted = [
        ("", "no key"),
        ("a b", "odd key"),
        ("empty", ""),
        ("exact", "0.10"),
        ("list", "<a list>"),
        ("long", "123456789012345678901234567890"),
        ("map", "<a map>"),
        ("no", "false"),
        ("nothing", "<null>"),
        ("small", "-1e400"),
        ("text", "a\"b\nü\0"),
        ("yes", "true"),
    ];
    assert_eq!(found, wanted.map(|(key, text)| (key.to_owned(), text.to_owned())));
}

#[test]
fn a_version_comes_with_what_the_second_engine_holds() {
    let body = r#"{"data": {"data": {"a": "b"}, "metadata": {"version": 7, "deletion_time": "", "destroyed": false}}}"#;
    let content = Engine::Two.content(body.as_bytes());
    assert!(content.as_ref().is_ok_and(|content| content.version == Some(7)));
    assert_eq!(texts(content), [("a".to_owned(), "b".to_owned())]);
    assert!(Engine::One.content(br#"{"data": {"a": "b"}}"#).is_ok_and(|content| content.version.is_none()));
}

#[test]
fn an_empty_map_and_none_hold_nothing() {
    for (engine, body, version) in [
        (Engine::One, r#"{"data": {}}"#, None),
        (Engine::One, r#"{"data": null}"#, None),
        (Engine::Two, r#"{"data": {"data": {}, "metadata": {"version": 2}}}"#, Some(2)),
        (Engine::Two, r#"{"data": {"data": null, "metadata": {"version": 3}}}"#, Some(3)),
        (Engine::Two, r#"{"data": null}"#, None),
    ] {
        let lack = engine.content(body.as_bytes()).err();
        assert!(matches!(lack, Some(Lack::Empty(found)) if found == version), "{body}");
    }
}

#[test]
fn an_answer_of_another_shape_is_no_answer_and_may_be_of_the_other_version() {
    for body in ["", "<html>", r#"{"data": {"a": "b"}}"#, r#"{"data": ["a"]}"#] {
        let lack = Engine::Two.content(body.as_bytes()).err();
        assert!(matches!(&lack, Some(Lack::Read(Engine::Two, Fault::Foreign))), "{body}");
        assert!(lack.is_some_and(|lack| lack.may_be_of_the_other_version()));
    }
}

#[test]
fn a_404_says_whether_a_version_was_deleted_or_destroyed_or_never_was() {
    let body = |destroyed: bool| {
        format!(
            r#"{{"data": {{"data": null, "metadata": {{"created_time": "2026-11-28T10:00:00Z", "custom_metadata": null,
                "deletion_time": "2026-11-28T11:00:00.5Z", "destroyed": {destroyed}, "version": 3}}}}, "warnings": null}}"#
        )
    };
    assert!(matches!(gone(&body(false)), Lack::Deleted(3, at) if at == "2026-11-28T11:00:00.5Z"));
    assert!(matches!(gone(&body(true)), Lack::Destroyed(3)));
    for body in [r#"{"errors": []}"#, "", r#"{"data": {"keys": []}}"#, r#"{"warnings": ["Invalid path"]}"#] {
        assert!(matches!(gone(body), Lack::Absent), "{body}");
    }
}

#[test]
fn the_mount_tells_its_engine_and_one_above_it_is_another() {
    let mount = |path: &str, type_: &str, options: &str| {
        let body = format!(r#"{{"data": {{"path": "{path}", "type": "{type_}", "options": {options}}}}}"#);
        engine("team/kv", body.as_bytes()).ok()
    };
    assert_eq!(mount("team/kv/", "kv", r#"{"version": "2"}"#), Some(Engine::Two));
    assert_eq!(mount("inner/team/kv/", "kv", r#"{"version": "2"}"#), Some(Engine::Two), "with a namespace");
    assert_eq!(mount("team/kv/", "kv", r#"{"version": "1"}"#), Some(Engine::One));
    assert_eq!(mount("team/kv/", "generic", "null"), Some(Engine::One));
    assert_eq!(mount("team/", "kv", r#"{"version": "2"}"#), None);
    assert_eq!(mount("team/kv/", "pki", "null"), None);
    assert!(matches!(engine("a", b"{}"), Err(Lack::Mount(Fault::Foreign))));
}
