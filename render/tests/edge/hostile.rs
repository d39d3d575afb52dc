//! I6: whatever stands in a resource, the configuration has the directives that it should have, or there is none.

use std::collections::BTreeMap;

use crds::{
    Exposure, GepDuration, HardenedService, Headers, PathMatch, PathMatchType, RateLimitRule, RateLimits,
};
use proptest::prelude::*;
use render::edge::{EdgeError, nginx::conf};

use super::{example, host};

/// What is tried in every field.
const HOSTILE: [&str; 25] = [
    "\n",
    "\r\nX-Evil: 1",
    "\0",
    "\t",
    ";",
    "a; return 200 x;",
    "{",
    "}",
    "} server {",
    "\"",
    "'",
    "`",
    "$host",
    "${host}",
    "\\",
    "\\\"",
    "#",
    "a # b",
    "${jndi:ldap://x}",
    "(a+)+$",
    "\u{2028}",
    "\u{430}",
    "%2f..%2f",
    "/../",
    "\u{7f}",
];

fn fields(value: &str, field: usize) -> HardenedService {
    let mut service = example("studio");
    let rule = RateLimitRule {
        name: "login".into(),
        methods: vec!["POST".into()],
        path: PathMatch { type_: Some(PathMatchType::PathPrefix), value: "/login".into() },
        requests: 5,
        period: GepDuration::from_secs(60),
    };
    let mut rules = RateLimits { rules: vec![rule], ..RateLimits::default() };
    let mut headers = BTreeMap::new();
    match field {
        0 => service.spec.exposure = Some(Exposure { hostnames: vec![value.into()] }),
        1 => _ = headers.insert("Referrer-Policy".to_owned(), value.to_owned()),
        2 => _ = headers.insert("Content-Security-Policy".to_owned(), value.to_owned()),
        3 => _ = headers.insert(value.to_owned(), "x".to_owned()),
        4 => rules.rules[0].name = value.into(),
        5 => rules.rules[0].methods = vec![value.into()],
        6 => rules.rules[0].path.value = format!("/{value}"),
        _ => service.metadata.name = Some(value.into()),
    }
    service.spec.headers = Some(Headers { preset: None, overrides: headers });
    service.spec.rate_limits = Some(rules);
    service
}

/// The directives of a text by name, in order, and the depth at its end; comments and quoted text are none. `$` outside of
/// the texts that the compiler brings is found by comparing with the text of a harmless value.
fn directives(text: &str) -> (Vec<String>, i32) {
    let (mut all, mut depth, mut word, mut first) = (Vec::new(), 0, String::new(), true);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends = c.is_whitespace() || matches!(c, ';' | '{' | '}');
        if ends && !word.is_empty() {
            if first {
                all.push(std::mem::take(&mut word));
            }
            (word, first) = (String::new(), false);
        }
        match c {
            ';' => first = true,
            '{' => (depth, first) = (depth + 1, true),
            '}' => (depth, first) = (depth - 1, true),
            '#' if word.is_empty() => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' | '\'' if word.is_empty() => {
                word.push('"');
                while let Some(inner) = chars.next() {
                    if inner == '\\' {
                        chars.next();
                    } else if inner == c {
                        break;
                    }
                }
            }
            c if !ends => word.push(c),
            _ => {}
        }
    }
    (all, depth)
}

fn check(value: &str, field: usize) -> Result<(), TestCaseError> {
    let harmless =
        ["a.example", "no-referrer", "img-src *", "X-Frame-Options", "login", "POST", "login", "studio"]
            [field];
    let expected = directives(&conf(&fields(harmless, field), &host()).unwrap().text);
    prop_assert!(expected.1 == 0 && expected.0.len() > 80, "{expected:?}");
    match conf(&fields(value, field), &host()) {
        Err(EdgeError { field, .. }) => prop_assert!(field.starts_with("spec.") || field == "metadata.name"),
        Ok(conf) => {
            let mut found = directives(&conf.text);
            // Another header than the first may be one line more.
            if field == 3 {
                found.0.dedup();
            }
            let mut expected = expected;
            if field == 3 {
                expected.0.dedup();
            }
            prop_assert_eq!(found, expected, "{:?} in field {}", value, field);
            let plain = conf.text.bytes().all(|b| b == b'\n' || (0x20..0x7f).contains(&b));
            prop_assert!(plain, "{} in field {}", value, field);
        }
    }
    Ok(())
}

#[test]
fn hostile_text_in_a_field_is_refused_or_means_itself() {
    let mut refused = 0;
    for value in HOSTILE {
        for field in 0..8 {
            check(value, field).unwrap();
            refused += usize::from(conf(&fields(value, field), &host()).is_err());
        }
    }
    // What may stand in a header: ; { } ' ` # and what is made of them.
    assert!(refused > 160, "{refused} of 200");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_in_any_field_adds_a_directive(
        pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(HOSTILE.to_vec()).prop_map(str::to_owned), any::<char>().prop_map(String::from), "[a-z/.;{}\"$]{1,6}",
        ], 1..6),
        field in 0_usize..8,
    ) {
        check(&pieces.concat(), field)?;
    }
}

#[test]
fn files_and_addresses_of_the_command_line_are_looked_at_too() {
    for value in ["a\nb", "/a\";}", "/a$x", "relative"] {
        let mut all = vec![host(); 5];
        all[0].files.certificate = value.into();
        all[1].files.key = value.into();
        all[2].files.static_folder = Some(value.into());
        all[3].upstream.ca = value.into();
        all[4].upstream.address = value.into();
        for host in all {
            assert!(conf(&example("studio"), &host).is_err(), "{value:?} in {host:?}");
        }
    }
    let mut host = host();
    host.upstream.server_name = "a;b".into();
    assert_eq!(conf(&example("studio"), &host).unwrap_err().field, "upstream name");
}
