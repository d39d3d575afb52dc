//! CEL rules that several fields share. Each message begins with the path of the field and says what to write. No types.

use kube::core::{Message, Rule};

/// A duration as GEP-2257 writes it.
const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// The whole string matches; `advice` completes "must be ...".
pub fn matches(path: &str, regex: &str, advice: &str) -> Rule {
    rule(path, format!("self.matches('{regex}')"), advice)
}

/// Every entry of a list matches.
pub fn each_matches(path: &str, regex: &str, advice: &str) -> Rule {
    rule(path, format!("self.all(x, x.matches('{regex}'))"), advice)
}

/// Every value of a map matches.
pub fn values_match(path: &str, regex: &str, advice: &str) -> Rule {
    rule(path, format!("self.all(k, self[k].matches('{regex}'))"), advice)
}

/// Name of an object of a kind whose names are DNS subdomains; `member` is the CEL expression of it.
pub fn object_name(path: &str, member: &str) -> Rule {
    rule(
        path,
        format!("!format.dns1123Subdomain().validate({member}).hasValue()"),
        "the name of an object: a-z, 0-9, - and ., beginning and ending with a letter or digit",
    )
}

/// A name of one DNS label.
pub fn label_name(path: &str) -> Rule {
    rule(
        path,
        "!format.dns1123Label().validate(self).hasValue()".into(),
        "a name of a-z, 0-9 and -, beginning and ending with a letter or digit",
    )
}

/// A duration between two others.
pub fn duration(path: &str, from: &str, to: &str) -> Rule {
    rule(
        path,
        format!(
            "self.matches('{DURATION}') && duration(self) >= duration('{from}') && duration(self) <= duration('{to}')"
        ),
        &format!("a duration from {from} to {to}, written like 90s or 1h30m"),
    )
}

/// One duration of a struct is shorter than another, which has a default. Malformed ones have their own message.
pub fn shorter(path: &str, member: &str, than: &str, default: &str) -> Rule {
    let other = format!("(has(self.{than}) ? self.{than} : '{default}')");
    Rule::new(format!(
        "!has(self.{member}) || !self.{member}.matches('{DURATION}') || !{other}.matches('{DURATION}') \
         || duration(self.{member}) < duration({other})"
    ))
    .message(Message::Message(format!(
        "{path}: must be shorter than {than}, which is {default} when left out"
    )))
    .field_path(format!(".{member}"))
}

/// CPU as whole cores or millicores.
pub fn cpu(path: &str) -> Rule {
    matches(path, "^[1-9][0-9]{0,5}m?$", "whole cores or millicores, such as 2 or 250m")
}

/// A size in bytes.
pub fn bytes(path: &str) -> Rule {
    matches(path, "^[1-9][0-9]{0,8}(Ki|Mi|Gi)$", "a whole number with Ki, Mi or Gi, such as 256Mi")
}

/// A request is not above its limit, with the defaults of both; a pod that breaks this cannot be created.
pub fn request_within_limit(resource: &str, member: &str, request: &str, limit: &str) -> Rule {
    // Not `self.?requests`: the server cannot bound the cost of an optional.
    let of = |list: &str, default: &str| {
        format!("(has(self.{list}) && has(self.{list}.{member}) ? self.{list}.{member} : '{default}')")
    };
    let (request_of, limit_of) = (of("requests", request), of("limits", limit));
    Rule::new(format!(
        "!isQuantity({request_of}) || !isQuantity({limit_of}) || \
         quantity({request_of}).compareTo(quantity({limit_of})) <= 0"
    ))
    .message(Message::Message(format!(
        "spec.workload.resources: requests.{resource} ({request} when left out) must not be above limits.{resource} \
         ({limit} when left out); raise the limit or lower the request"
    )))
}

/// Keys of labels or annotations of any prefix.
pub fn label_keys(path: &str) -> Rule {
    rule(
        path,
        "self.all(k, !format.qualifiedName().validate(k).hasValue())".into(),
        "keyed by label names: at most 63 letters, digits, -, _ and ., with an optional DNS prefix and slash before them",
    )
}

/// One such key.
pub fn label_key(path: &str) -> Rule {
    rule(
        path,
        "!format.qualifiedName().validate(self).hasValue()".into(),
        "a label name: at most 63 letters, digits, -, _ and ., with an optional DNS prefix and slash before it",
    )
}

/// One value of a label.
pub fn label_value(path: &str) -> Rule {
    rule(
        path,
        "!format.labelValue().validate(self).hasValue()".into(),
        "a label value: at most 63 letters, digits, -, _ and ., beginning and ending with a letter or digit",
    )
}

/// Keys that do not pretend to be Kubernetes' or ours.
pub fn own_keys(path: &str) -> Rule {
    Rule::new("self.all(k, !k.matches('(^|[.])(kubernetes[.]io|k8s[.]io|hardened[.]dev)/'))").message(Message::Message(format!(
        "{path}: keys with the prefixes kubernetes.io, k8s.io and hardened.dev are reserved; use a prefix of your own"
    )))
}

/// Values of labels.
pub fn label_values(path: &str) -> Rule {
    rule(
        path,
        "self.all(k, !format.labelValue().validate(self[k]).hasValue())".into(),
        "made of label values: at most 63 letters, digits, -, _ and ., beginning and ending with a letter or digit",
    )
}

fn rule(path: &str, rule: String, advice: &str) -> Rule {
    Rule::new(rule).message(Message::Message(format!("{path}: must be {advice}")))
}
