//! The only ways by which a value gets into a configuration. What could mean more than itself there is refused, also where
//! the schema of the resource has refused it before: the command line reads files that no API server has seen.

use super::EdgeError;

/// nginx reads no parameter of more than 4096 bytes.
const LONGEST: usize = 4000;

/// Text as one parameter. Nothing in nginx keeps a `$` from being a variable, so that one is refused too.
pub fn text(field: &str, value: &str) -> Result<String, EdgeError> {
    let plain = |b: u8| (0x20..0x7f).contains(&b) && !matches!(b, b'"' | b'\\' | b'$');
    let advice = "1 to 4000 printable ASCII characters without double quotes, backslashes and $";
    let good = !value.is_empty() && value.len() <= LONGEST && value.bytes().all(plain);
    if good { Ok(format!("\"{value}\"")) } else { Err(refuse(field, advice)) }
}

/// The absolute path of a file.
pub fn file(field: &str, value: &str) -> Result<String, EdgeError> {
    let advice = "an absolute path of printable ASCII characters without double quotes, backslashes and $, without /../";
    if !value.starts_with('/') || value.split('/').any(|part| part == "..") {
        return Err(refuse(field, advice));
    }
    text(field, value).map_err(|_| refuse(field, advice))
}

/// A host name in lower case; `~`, `*` and a leading point would mean more in nginx.
pub fn host<'a>(field: &str, value: &'a str) -> Result<&'a str, EdgeError> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let good = value.len() <= 253 && value.split('.').all(is_label);
    if good { Ok(value) } else { Err(refuse(field, "a lower-case host name such as app.example.com")) }
}

/// Address and port of a server.
pub fn address<'a>(field: &str, value: &'a str) -> Result<&'a str, EdgeError> {
    let advice = "HOST:PORT such as 127.0.0.1:8443, app:8443 or [::1]:8443";
    let (host_part, port) = value.rsplit_once(':').ok_or_else(|| refuse(field, advice))?;
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    if !digits || port.parse::<u16>().unwrap_or(0) == 0 {
        return Err(refuse(field, advice));
    }
    let v6 = host_part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host(field, host_part).is_ok(),
    }
    .then_some(value)
    .ok_or_else(|| refuse(field, advice))
}

/// A method, as part of an expression.
pub fn method<'a>(field: &str, value: &'a str) -> Result<&'a str, EdgeError> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&value);
    if known { Ok(value) } else { Err(refuse(field, "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")) }
}

/// A path, as part of an expression that matches only itself.
pub fn path(field: &str, value: &str) -> Result<String, EdgeError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~%/".contains(&b);
    let dots = value.split('/').any(|part| part == "." || part == "..");
    if !value.starts_with('/')
        || value.len() > 256
        || !value.bytes().all(plain)
        || value.contains("//")
        || dots
    {
        return Err(refuse(
            field,
            "a path such as /jobs: a slash, then letters, digits and -._~%/, without //, /./ or /../",
        ));
    }
    // Of the characters that are allowed only the point means more than itself.
    Ok(value.replace('.', "[.]"))
}

/// The name of a rule or an object, for a comment.
pub fn name<'a>(field: &str, value: &'a str) -> Result<&'a str, EdgeError> {
    host(field, value)
        .map_err(|_| refuse(field, "a name of a-z, 0-9 and -, beginning and ending with a letter or digit"))
}

pub fn refuse(field: &str, advice: &'static str) -> EdgeError {
    EdgeError { field: field.into(), advice }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parameters as nginx 1.22 reads them (`ngx_conf_read_token`): nothing when it would find the end of none, or more.
    fn parameters(text: &str) -> Option<Vec<String>> {
        let (mut all, mut chars) = (Vec::new(), text.chars().peekable());
        while let Some(c) = chars.next() {
            match c {
                ' ' | '\t' | '\r' | '\n' => {}
                ';' | '{' | '}' => all.push(c.to_string()),
                '#' => while chars.next_if(|c| *c != '\n').is_some() {},
                '"' | '\'' => {
                    let mut word = String::new();
                    loop {
                        match chars.next()? {
                            '\\' => word.push(chars.next()?),
                            end if end == c => break,
                            '$' => return None,
                            other => word.push(other),
                        }
                    }
                    chars.peek().is_none_or(|next| " \t\r\n;{)".contains(*next)).then_some(())?;
                    all.push(word);
                }
                '$' | '\\' => return None,
                _ => {
                    let mut word = c.to_string();
                    while let Some(next) = chars.next_if(|c| !" \t\r\n;{".contains(*c)) {
                        word.push((next != '$' && next != '\\').then_some(next)?);
                    }
                    all.push(word);
                }
            }
        }
        Some(all)
    }

    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "\n",
                "\r",
                ";",
                "{",
                "}",
                "\"",
                "'",
                "$host",
                "${x}",
                "\\",
                "\\\"",
                "#",
                "\0",
                "\t",
                " ",
                "`",
                "..",
                "/",
                "\u{2028}",
                "~",
                "*",
                "a",
                "/etc/passwd",
                ":",
                "1",
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
            "[a-z0-9./:-]{1,8}",
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_not_refused_is_one_parameter_and_means_itself(value in hostile()) {
            for quoted in [text("f", &value), file("f", &value)].into_iter().flatten() {
                let line = format!("directive {quoted};");
                prop_assert_eq!(parameters(&line), Some(vec!["directive".into(), value.clone(), ";".into()]), "{}", line);
            }
            let bare = [host("f", &value), address("f", &value), method("f", &value), name("f", &value)];
            for bare in bare.into_iter().flatten() {
                let line = format!("directive {bare};");
                prop_assert_eq!(parameters(&line), Some(vec!["directive".into(), value.clone(), ";".into()]), "{}", line);
            }
            if let Ok(pattern) = path("f", &value) {
                let harmless = pattern.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~%/[.]".contains(&b));
                prop_assert!(harmless && !pattern.replace("[.]", "").contains(['.', '[', ']']), "{}", pattern);
            }
        }
    }

    #[test]
    fn each_hostile_character_is_refused_with_the_field() {
        for bad in ["\n", "\r", "\0", "\t", "\"", "\\", "$", "\u{7f}", "\u{e9}", "\u{2028}"] {
            let value = format!("a{bad}b");
            assert!(
                text("spec.x", &value).unwrap_err().to_string().starts_with("spec.x: must be "),
                "{value:?}"
            );
        }
        for bad in [";", "{", "}", "#", "'", " ", "~", "*", "$", "/", "_", "A", ":"] {
            assert!(host("f", &format!("a{bad}b")).is_err(), "{bad}");
        }
        for bad in [";", "{", "}", "#", "'", " ", "*", "$", "(", "|", "+", "?", "//", "/./", "/..", "\\"] {
            assert!(path("f", &format!("/a{bad}")).is_err() || bad == "/..", "{bad}");
        }
        for bad in ["a/b", "", "/a/../b", "/a\n", "/.."] {
            assert!(file("f", bad).is_err(), "{bad}");
        }
        for bad in
            ["a", "a:", "a:0", "a:65536", "a:+1", ":1", "a b:1", "unix:/x:1", "[::1:1", "[a]:1", "a:1;"]
        {
            assert!(address("f", bad).is_err(), "{bad}");
        }
        for good in ["127.0.0.1:8443", "app:8443", "[::1]:8443"] {
            assert_eq!(address("f", good), Ok(good));
        }
        assert!(text("f", &"a".repeat(4001)).is_err() && text("f", "").is_err());
    }
}
