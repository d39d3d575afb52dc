//! Host names as arguments give them. It knows no list of allowed ones.

/// Whether this is a lower-case host name, or `*.` and one.
pub fn is_pattern(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_host_name_with_at_most_one_star_in_front() {
        let (longest, label) = ("a.".repeat(126) + "a", "a".repeat(63));
        for good in
            ["localhost", "*.localhost", "a-1.example.com", "*.xn--bcher-kva.example", &longest, &label]
        {
            assert!(is_pattern(good), "{good}");
        }
        let (longer, long_label) = ("a.".repeat(126) + "aa", "a".repeat(64));
        for bad in [
            "",
            ".",
            "*",
            "*.",
            "a.",
            ".a",
            "a..b",
            "*.*.a",
            "a.*",
            "a*.b",
            "-a",
            "a-",
            "A.example",
            "a_b",
            "bücher.example",
            "a b",
            "https://a",
            "a:443",
            "a/b",
            &longer,
            &long_label,
        ] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
