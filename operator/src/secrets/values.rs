//! Values for the workload in memory: no Debug, no Serialize, wiped when they go. And what makes them unfit for a workload.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Delivery, HardenedService, SecretTemplate};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use secrecy::{ExposeSecret, SecretSlice};

/// What the API server takes as the values of one Secret, in bytes.
const MOST_BYTES: usize = 1024 * 1024;
/// Names in one Secret.
const MOST: usize = 512;
/// Longest `NAME=VALUE` that Linux gives to a program (`MAX_ARG_STRLEN`), less its end.
const LONGEST_VARIABLE: usize = 128 * 1024 - 1;
/// Longest key of a Secret.
const LONGEST_KEY: usize = 253;

/// Values by name.
#[derive(Default)]
pub struct Values(BTreeMap<String, SecretSlice<u8>>);

/// Values with the seal of an operator's keys, by which the operator knows its own.
pub struct Sealed {
    /// The values.
    pub values: Values,
    /// HMAC over them.
    pub seal: String,
}

impl Values {
    /// Of a Secret as it was read.
    pub fn of(secret: &Secret) -> Self {
        let all = secret.data.iter().flatten();
        Self(all.map(|(name, value)| (name.clone(), value.0.clone().into())).collect())
    }

    /// The later one of two with the same name counts.
    pub fn set(&mut self, name: String, value: Vec<u8>) {
        self.0.insert(name, value.into());
    }

    /// One as text, if it is some.
    fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Some of them.
    pub fn only<'n>(&self, names: impl Iterator<Item = &'n String>) -> Self {
        Self(names.filter_map(|name| Some((name.clone(), self.0.get(name)?.clone()))).collect())
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(ExposeSecret::expose_secret)
    }

    /// Their names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names and values, for an HMAC.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, value.expose_secret()))
    }

    /// As the `data` of a Secret, for the one request that carries it.
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        self.inputs().map(|(name, value)| (name.to_owned(), ByteString(value.to_vec()))).collect()
    }

    /// Names of which the two have different values, or only one has any.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differs = |name: &&String| self.get(name) != other.get(name);
        names.into_iter().filter(differs).cloned().collect()
    }

    /// Adds what is composed of the others. An error tells what is wrong with which template.
    pub fn compose(&mut self, template: &SecretTemplate) -> Result<(), String> {
        let (name, mut rest) = (&template.name, &*template.template);
        let of = |problem: String| format!("spec.secrets.templates: {name} {problem}");
        let mut text = String::new();
        while let Some((before, after)) = rest.split_once("{{") {
            let (inner, tail) = after
                .split_once("}}")
                .ok_or_else(|| of("has {{ without }}; write {{NAME}} or {{NAME|urlencode}}".into()))?;
            let (source, encode) = match inner.split_once('|').map(|(name, how)| (name.trim(), how.trim())) {
                None => (inner.trim(), false),
                Some((name, "urlencode")) => (name, true),
                // Not repeated: who writes a value into a template by mistake must not find it in a status.
                Some(_) => {
                    return Err(of("has another word than urlencode behind |; use that or none".into()));
                }
            };
            let value = self.text(source).ok_or_else(|| {
                of("needs a name that no source has as text; correct it, or add it to a source".into())
            })?;
            text.push_str(before);
            if encode {
                encoded(&mut text, value);
            } else {
                text.push_str(value);
            }
            rest = tail;
        }
        text.push_str(rest);
        self.set(name.clone(), text.into_bytes());
        Ok(())
    }

    /// Fails unless a workload can get all of them the way that the spec asks for.
    pub fn check(&self, service: &HardenedService) -> Result<(), String> {
        let spec = service.spec.secrets.as_ref();
        let missing = |name: &&String| !self.0.contains_key(*name);
        if let Some(name) = spec.and_then(|spec| spec.required.iter().find(missing)) {
            return Err(format!(
                "spec.secrets.required: no source has {name}; write it there, or correct the name"
            ));
        }
        if let Some(name) = render::login::names(service).find(missing) {
            return Err(format!(
                "spec.secrets.postgresLogins: no source has {name}; write it there, or correct the name"
            ));
        }
        if self.0.len() > MOST {
            return Err(format!(
                "the sources have {} names, and {MOST} are the most; choose some by keys",
                self.0.len()
            ));
        }
        let bytes: usize = self.inputs().map(|(_, value)| value.len()).sum();
        if bytes > MOST_BYTES {
            return Err(format!(
                "the values have {bytes} bytes together, and {MOST_BYTES} fit into a Secret; choose fewer by keys"
            ));
        }
        let by_env = render::secrets::delivery(service) == Some(Delivery::Env);
        let taken: BTreeSet<String> =
            if by_env { render::variables(service).collect() } else { BTreeSet::new() };
        let problem = |(name, value): (&str, &[u8])| {
            let problem = if by_env { variable_problem(name, value, &taken) } else { file_problem(name) };
            problem.map(|problem| format!("the name {} {problem}", shortened(name)))
        };
        self.inputs().find_map(problem).map_or(Ok(()), Err)
    }
}

/// Why a container cannot have this variable. The kubelet leaves out what it does not like and starts the pod without.
fn variable_problem(name: &str, value: &[u8], taken: &BTreeSet<String>) -> Option<&'static str> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Some(
            "is none of an environment variable; choose keys with a name of letters, digits and _, or use delivery: files",
        );
    }
    // They can change what runs.
    let reserved = ["LD_", "KUBERNETES_", "HARDENED_"].iter().any(|prefix| name.starts_with(prefix));
    if reserved || name == "PATH" {
        return Some(
            "is not allowed, like PATH and all that begin with LD_, KUBERNETES_ or HARDENED_, because it can change what runs; choose keys with another name",
        );
    }
    if taken.contains(name) {
        return Some(
            "is set by the operator or by spec.workload.env, which would win; choose keys with another name, or remove it there",
        );
    }
    if std::str::from_utf8(value).is_err() || value.contains(&0) {
        return Some(
            "has a value that is no text, which no environment variable can hold; use delivery: files",
        );
    }
    (name.len() + 1 + value.len() > LONGEST_VARIABLE)
        .then_some("has a value that is too long for an environment variable (128 KiB with its name); use delivery: files")
}

/// Why a Secret cannot have this key.
fn file_problem(name: &str) -> Option<&'static str> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = (1..=LONGEST_KEY).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('.');
    (!good).then_some("is none of a file; choose keys with a name of letters, digits, -, _ and .")
}

/// A name out of a source, which may be anything.
pub fn shortened(name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    if name.is_empty() { "\"\" (empty)".into() } else { format!("{short:?}") }
}

/// Percent-encoded but for the unreserved characters (RFC 3986, section 2.3).
fn encoded(text: &mut String, value: &str) {
    use std::fmt::Write as _;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
