//! The names that a certificate is asked to carry. Pure; it looks nothing up.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::host;

/// Names and addresses as certificates carry them, each once and in the order given.
pub fn names(given: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for given in given {
        let name = name(given.trim())?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn name(given: &str) -> Result<String> {
    if let Ok(address) = given.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = given.to_ascii_lowercase();
    // No top-level domain is a number: 10.0.0.256 is an address that went wrong.
    let last = name.rsplit('.').next().unwrap_or_default();
    ensure!(
        host::is_pattern(&name) && !last.bytes().all(|b| b.is_ascii_digit()),
        "--san: {given:?} is neither a host name such as app.example.com or *.example.com (others than ASCII as xn--...) \
         nor an address such as 192.0.2.1 or 2001:db8::1"
    );
    Ok(name)
}

/// The subject's common name. It holds 64 characters at most (RFC 5280, ub-common-name), and no client reads it.
pub fn common_name(names: &[String]) -> &str {
    names.iter().find(|name| name.len() <= 64).map_or("self-signed", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[&str]) -> Result<Vec<String>> {
        names(&given.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn host_names_wildcards_and_addresses_are_taken_once_each() {
        let given =
            ["App.example.com", " *.localhost", "app.example.com", "127.0.0.1", "2001:DB8:0::1", "::1"];
        let expected = ["app.example.com", "*.localhost", "127.0.0.1", "2001:db8::1", "::1"];
        assert_eq!(of(&given).expect("names"), expected);
    }

    #[test]
    fn what_no_client_would_match_is_refused_and_named() {
        for bad in [
            "",
            "10.0.0.256",
            "1.2.3",
            "10.0.0.0/8",
            "[::1]",
            "fe80::1%eth0",
            "*",
            "*.*.a",
            "a.*.b",
            "-a.b",
            "a_b",
            "https://a.b",
            "a.b:443",
            "bücher.example",
            "a.",
            "a\nb",
        ] {
            let error = of(&["localhost", bad]).expect_err(bad).to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn the_common_name_is_the_first_that_fits() {
        let long = format!("{}.{}", "a".repeat(40), "b".repeat(40));
        assert_eq!(common_name(&[long.clone(), "a.example".into()]), "a.example");
        assert_eq!(common_name(&[long]), "self-signed");
    }
}
