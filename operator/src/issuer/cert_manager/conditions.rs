//! What cert-manager says of a Certificate, in its own words. Pure.

use kube::core::DynamicObject;
use serde_json::Value;

/// Longest reason and message of a condition; issuers may quote whole answers of somebody else's server.
const LONGEST: [usize; 2] = [64, 512];

/// What cert-manager says.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// What it wrote into the Secret is what the Certificate asks for.
    pub is_ready: bool,
    /// What is wrong, if anything is. One that is being renewed is as good as before.
    pub trouble: Option<String>,
}

/// What cert-manager says of a Certificate.
pub fn said(certificate: &DynamicObject) -> Said {
    let conditions = certificate.data.pointer("/status/conditions").and_then(Value::as_array);
    let of = |type_: &str| conditions.into_iter().flatten().find(|condition| condition["type"] == type_);
    let (ready, issuing) = (of("Ready"), of("Issuing"));
    let is = |condition: Option<&Value>, status: &str| condition.is_some_and(|c| c["status"] == *status);
    let current = |c: &&Value| c["observedGeneration"].as_i64() == certificate.metadata.generation;
    let is_ready = is(ready.filter(current), "True");
    // It stands there until an attempt succeeds.
    let failed = is(issuing, "False") && issuing.is_some_and(|c| c["reason"] != "Issued");
    if is_ready && !failed {
        return Said { is_ready, trouble: None };
    }
    let ready = ready.filter(current).filter(|_| !is_ready).map(|ready| words("", ready));
    let issuing =
        issuing.map(|issuing| words(if failed { "the last attempt failed: " } else { "" }, issuing));
    let all: Vec<_> = ready.into_iter().chain(issuing).collect();
    let unseen = || "cert-manager has not looked at it yet".to_owned();
    Said { is_ready, trouble: Some(if all.is_empty() { unseen() } else { all.join("; ") }) }
}

fn words(before: &str, condition: &Value) -> String {
    let [reason, message] = ["reason", "message"].map(|field| condition[field].as_str().unwrap_or_default());
    format!("{before}{}: {}", cut(reason, LONGEST[0]), cut(message, LONGEST[1]))
}

/// On one line, and no longer than this.
fn cut(text: &str, longest: usize) -> String {
    let mut text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest));
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(conditions: &Value) -> Option<String> {
        all(conditions).trouble
    }

    fn all(conditions: &Value) -> Said {
        said(
            &serde_json::from_value(json!({
                "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
                "metadata": {"name": "shop-issued", "generation": 3}, "status": {"conditions": conditions},
            }))
            .unwrap(),
        )
    }

    fn condition(type_: &str, status: &str, reason: &str, generation: i64) -> Value {
        let message = format!("why {reason}");
        json!({"type": type_, "status": status, "reason": reason, "message": message, "observedGeneration": generation})
    }

    #[test]
    fn a_ready_one_is_none_also_while_it_is_renewed() {
        let ready = condition("Ready", "True", "Ready", 3);
        assert_eq!(of(&json!([ready])), None);
        assert_eq!(of(&json!([ready, condition("Issuing", "True", "Renewing", 3)])), None);
    }

    #[test]
    fn one_that_is_not_ready_gives_its_own_reasons_and_messages() {
        let absent = condition("Ready", "False", "DoesNotExist", 3);
        assert_eq!(of(&json!([absent])).as_deref(), Some("DoesNotExist: why DoesNotExist"));
        let pending = condition("Issuing", "True", "Pending", 3);
        assert_eq!(
            of(&json!([absent, pending])).as_deref(),
            Some("DoesNotExist: why DoesNotExist; Pending: why Pending")
        );
    }

    #[test]
    fn a_renewal_that_failed_is_told_of_a_ready_one_too() {
        let ready = condition("Ready", "True", "Ready", 3);
        assert_eq!(
            of(&json!([ready, condition("Issuing", "False", "Failed", 2)])).as_deref(),
            Some("the last attempt failed: Failed: why Failed")
        );
        assert!(all(&json!([ready, condition("Issuing", "False", "Failed", 2)])).is_ready);
    }

    #[test]
    fn what_was_said_of_an_older_spec_does_not_count() {
        let waits = Some("cert-manager has not looked at it yet");
        let old = json!([condition("Ready", "True", "Ready", 2)]);
        assert_eq!((of(&old).as_deref(), all(&old).is_ready), (waits, false));
        assert_eq!(of(&json!([condition("Ready", "False", "Expired", 2)])).as_deref(), waits);
        assert_eq!(of(&Value::Null).as_deref(), waits);
    }

    #[test]
    fn a_long_message_is_cut_and_has_one_line() {
        let message = format!("first\nsecond\u{1b}[31m {}", "\u{e4}".repeat(1000));
        let said = of(
            &json!([{"type": "Ready", "status": "False", "reason": "R", "message": message, "observedGeneration": 3}]),
        );
        let said = said.unwrap();
        assert!(said.starts_with("R: first second [31m \u{e4}") && said.ends_with("\u{e4} ..."), "{said}");
        assert!(said.len() <= 3 + 512 + 4, "{}", said.len());
    }
}
