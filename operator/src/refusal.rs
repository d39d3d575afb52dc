//! A request that the API server's authorizer refused, as far as users may see it: verb, resource, namespace. Never
//! the name of the operator's user.

use std::fmt;

use crds::Reason;
use kube::core::Status;
use render::Problem;

/// Longest word that is taken over from the server's message.
const WORD: usize = 253;

/// What the operator may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// Plural name, group and subresource: `deployments.apps`, `hardenedservices.hardened.dev/status`.
    pub resource: String,
    /// Where; `None` for all namespaces.
    pub namespace: Option<String>,
}

impl Refusal {
    /// From the server's answer, if the authorizer gave it. Policies, quota and admission answer 403 as well (V9), but
    /// only the authorizer's words begin with the user.
    pub fn of(status: &Status) -> Option<Self> {
        status.is_forbidden().then(|| parse(&status.message)).flatten()
    }

    /// The same from a failed request.
    pub fn of_error(error: &kube::Error) -> Option<Self> {
        match error {
            kube::Error::Api(status) => Self::of(status),
            _ => None,
        }
    }

    /// For users: what is missing, and how it comes back.
    pub fn problem(&self) -> Problem {
        let fix = match &self.namespace {
            Some(namespace) if self.is_of_onboarding() => format!(
                "ClusterRole hardened-operator-namespace (helm upgrade) or runs: kubectl hardened onboard {namespace}"
            ),
            Some(_) => "the operator's roles (helm upgrade)".to_owned(),
            None => "ClusterRole hardened-operator-cluster (helm upgrade)".to_owned(),
        };
        Problem {
            reason: Reason::PermissionDenied,
            message: format!("the operator may not {self}; a platform admin restores {fix}"),
        }
    }

    /// Whether the right comes from the RoleBinding of an onboarded namespace: writes to children, and Secrets.
    fn is_of_onboarding(&self) -> bool {
        let read = matches!(&*self.verb, "list" | "watch");
        let elsewhere = ["hardenedservices.", "events."].iter().any(|other| self.resource.starts_with(other));
        self.resource == "secrets" || !read && !elsewhere
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} in ", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(out, "namespace {namespace}"),
            None => out.write_str("all namespaces"),
        }
    }
}

/// Reads `... is forbidden: User "x" cannot VERB resource "R" in API group "G" in the namespace "N"`, or the same with
/// `at the cluster scope`. What follows is the authorizer's own reason.
fn parse(message: &str) -> Option<Refusal> {
    let (_, rest) = message.split_once("forbidden: ")?;
    let (_, rest) = quoted(rest.strip_prefix("User ")?)?;
    let (verb, rest) = rest.strip_prefix(" cannot ")?.split_once(" resource ")?;
    let (resource, rest) = quoted(rest)?;
    let (group, rest) = quoted(rest.strip_prefix(" in API group ")?)?;
    let namespace = match rest.strip_prefix(" in the namespace ") {
        Some(rest) => Some(quoted(rest)?.0),
        None => rest.starts_with(" at the cluster scope").then_some(None)?,
    };
    let (plural, subresource) = resource.split_once('/').map_or((resource, None), |(p, s)| (p, Some(s)));
    let words = [Some(verb), Some(plural), Some(group), subresource, namespace];
    if !words.into_iter().flatten().all(is_word) {
        return None;
    }
    let mut resource = plural.to_owned();
    for (mark, part) in [('.', Some(group).filter(|g| !g.is_empty())), ('/', subresource)] {
        resource.extend(part.into_iter().flat_map(|part| std::iter::once(mark).chain(part.chars())));
    }
    Some(Refusal { verb: verb.into(), resource, namespace: namespace.map(str::to_owned) })
}

/// A word in double quotes as Go writes it, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&text[..end], &text[end + 1..]))
}

fn is_word(word: &str) -> bool {
    word.len() <= WORD
        && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Option<String> {
        let status = Status::failure(message, "Forbidden").with_code(403);
        Refusal::of(&status).map(|refusal| refusal.to_string())
    }

    /// Answers of a kube-apiserver 1.37.2.
    #[test]
    fn the_servers_refusals_are_read() {
        let answers = [
            (
                r#"deployments.apps is forbidden: User "hardened-operator" cannot create resource "deployments" in API group "apps" in the namespace "studio""#,
                "create deployments.apps in namespace studio",
            ),
            (
                r#"secrets "studio-tls" is forbidden: User "system:serviceaccount:hardened-system:hardened-operator" cannot get resource "secrets" in API group "" in the namespace "studio""#,
                "get secrets in namespace studio",
            ),
            (
                r#"horizontalpodautoscalers.autoscaling is forbidden: User "hardened-operator" cannot list resource "horizontalpodautoscalers" in API group "autoscaling" at the cluster scope"#,
                "list horizontalpodautoscalers.autoscaling in all namespaces",
            ),
            (
                r#"hardenedservices.hardened.dev "studio" is forbidden: User "hardened-operator" cannot patch resource "hardenedservices/status" in API group "hardened.dev" in the namespace "studio""#,
                "patch hardenedservices.hardened.dev/status in namespace studio",
            ),
            (
                r#"configmaps is forbidden: User "hardened-operator" cannot create resource "configmaps" in API group "" in the namespace "a": RBAC: role.rbac.authorization.k8s.io "hardened" not found"#,
                "create configmaps in namespace a",
            ),
            (
                r#"forbidden: User "od\"d \\" cannot watch resource "services" in API group "" at the cluster scope"#,
                "watch services in all namespaces",
            ),
        ];
        for (answer, expected) in answers {
            assert_eq!(of(answer).as_deref(), Some(expected), "{answer}");
        }
    }

    #[test]
    fn other_refusals_are_not_taken_for_missing_rights() {
        let answers = [
            r#"pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#,
            r#"deployments.apps "a" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: x is forbidden: User "x" cannot create resource "deployments" in API group "apps" in the namespace "a""#,
            r#"admission webhook "w" denied the request: User "x" cannot create resource "y""#,
            r#"configmaps "a" is forbidden: unable to create new content in namespace a because it is being terminated"#,
            r#"forbidden: User "x" cannot get path "/metrics""#,
            r#"a is forbidden: User "x" cannot create resource "a b<script>" in API group "" in the namespace "n""#,
            r#"a is forbidden: User "x" cannot create resource "a" in API group "" in the namespace "#,
            "",
        ];
        for answer in answers {
            assert_eq!(of(answer), None, "{answer}");
        }
        let found =
            r#"a is forbidden: User "x" cannot create resource "a" in API group "" at the cluster scope"#;
        assert!(of(found).is_some());
        assert_eq!(Refusal::of(&Status::failure(found, "NotFound").with_code(404)), None);
    }

    #[test]
    fn the_message_names_the_role_that_has_the_right_and_never_the_user() {
        let message = |verb: &str, resource: &str, namespace: Option<&str>| {
            let namespace = namespace.map(str::to_owned);
            Refusal { verb: verb.into(), resource: resource.into(), namespace }.problem().message
        };
        assert_eq!(
            message("create", "deployments.apps", Some("studio")),
            "the operator may not create deployments.apps in namespace studio; a platform admin restores ClusterRole \
             hardened-operator-namespace (helm upgrade) or runs: kubectl hardened onboard studio"
        );
        assert_eq!(
            message("watch", "deployments.apps", None),
            "the operator may not watch deployments.apps in all namespaces; a platform admin restores ClusterRole \
             hardened-operator-cluster (helm upgrade)"
        );
        for (verb, resource) in
            [("watch", "deployments.apps"), ("patch", "hardenedservices.hardened.dev/status")]
        {
            let message = message(verb, resource, Some("studio"));
            assert!(message.ends_with("restores the operator's roles (helm upgrade)"), "{message}");
        }
        assert!(message("watch", "secrets", Some("studio")).contains("onboard studio"));
    }
}
