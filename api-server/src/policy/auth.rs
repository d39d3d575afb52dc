//! Who may do what, by method and path: the auth part of the policy file as checked data. It reads no token.

use actix_web::http::Method;
use serde::Deserialize;

use super::{PathMatch, PathType, limits::check_target};
use crate::auth::Role;

/// The auth part of the file.
#[derive(Clone, Debug, Deserialize)]
pub struct Auth {
    /// Access by tokens.
    pub jwt: JwtPolicy,
}

/// Which tokens of others count, and who may do what.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtPolicy {
    /// The issuer of tokens that keys of `JWKS_URI` have signed; left out, `JWT_ISSUER`.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Audiences, one of which such a token is for; empty means `JWT_AUDIENCE`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The first rule that matches method and path counts; what none matches is open.
    #[serde(default = "built_in")]
    pub roles: Vec<RoleRule>,
}

/// Who may use some methods on some paths.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleRule {
    /// Methods; empty means all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Paths.
    pub path: PathMatch,
    /// Roles, one of which is needed.
    pub any_of: Vec<Role>,
}

/// The same in the form that requests are compared with.
#[derive(Debug)]
pub struct AuthSet {
    /// The issuer of others' tokens, where it is not `JWT_ISSUER`.
    pub issuer: Option<String>,
    /// The audiences of others' tokens, where they are not `JWT_AUDIENCE`.
    pub audiences: Vec<String>,
    rules: Vec<(Vec<Method>, RoleRule)>,
}

impl AuthSet {
    /// Compiles and checks. The error names the field.
    pub fn new(auth: Option<&Auth>) -> Result<Self, String> {
        let jwt = auth.map_or_else(JwtPolicy::default, |auth| auth.jwt.clone());
        let mut names = jwt.issuer.iter().chain(&jwt.audiences);
        if let Some(name) = names.find(|name| name.is_empty() || name.len() > 256) {
            return Err(format!("auth.jwt: issuer or audience {name:?} is not 1 to 256 bytes"));
        }
        let rules = jwt.roles.into_iter().map(compiled).collect::<Result<_, _>>()?;
        Ok(Self { issuer: jwt.issuer, audiences: jwt.audiences, rules })
    }

    /// The roles, one of which a request needs; nothing where it needs none. The path is the decoded one.
    pub fn needed(&self, method: &Method, path: &str) -> Option<&[Role]> {
        let rule = self.rules.iter().find(|(methods, rule)| rule.path.covers(methods, method, path))?;
        Some(&rule.1.any_of)
    }
}

fn compiled(rule: RoleRule) -> Result<(Vec<Method>, RoleRule), String> {
    const LIST: &str = "auth.jwt.roles";
    let path = &rule.path.value;
    check_target(LIST, path, &rule.methods, &rule.path)?;
    if rule.any_of.is_empty() {
        return Err(format!(
            "{LIST}.anyOf: the rule for {path:?} lets nobody in; name a role or drop the rule"
        ));
    }
    let methods = rule.methods.iter().map(|m| m.parse()).collect::<Result<_, _>>();
    let methods = methods.map_err(|_| format!("{LIST}.methods: the rule for {path:?}"))?;
    Ok((methods, rule))
}

impl Default for JwtPolicy {
    fn default() -> Self {
        Self { issuer: None, audiences: Vec::new(), roles: built_in() }
    }
}

/// What the app's own routes need. Everything below a path counts with it, so that a new route is not open by oversight.
fn built_in() -> Vec<RoleRule> {
    const READ: &[Role] = &[Role::Viewer, Role::Editor, Role::Admin];
    const WRITE: &[Role] = &[Role::Editor, Role::Admin];
    let table: [(&[&str], &str, &[Role]); 9] = [
        (&["GET"], "/videos", READ),
        (&["POST", "PUT", "PATCH"], "/videos", WRITE),
        (&["DELETE"], "/videos", &[Role::Admin]),
        (&["GET"], "/jobs", READ),
        (&["DELETE"], "/jobs", WRITE),
        (&["POST"], "/transcribe", WRITE),
        (&["POST"], "/analyze", WRITE),
        (&["POST"], "/schedule", WRITE),
        (&["PUT", "DELETE"], "/provider-key", WRITE),
    ];
    let rule = |(methods, path, roles): (&[&str], &str, &[Role])| RoleRule {
        methods: methods.iter().map(|&m| m.to_owned()).collect(),
        path: PathMatch { kind: PathType::Prefix, value: path.to_owned() },
        any_of: roles.to_vec(),
    };
    table.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<AuthSet, String> {
        AuthSet::new(Some(&serde_json::from_str(text).unwrap()))
    }

    #[test]
    fn without_a_policy_the_routes_of_the_app_need_the_roles_of_the_mission() {
        use Role::{Admin, Editor, Viewer};
        let all = [Viewer, Editor, Admin];
        let set = AuthSet::new(None).unwrap();
        let table: [(Method, &str, Option<&[Role]>); 19] = [
            (Method::GET, "/videos", Some(&all)),
            (Method::HEAD, "/videos/7", Some(&all)),
            (Method::GET, "/jobs/7", Some(&all)),
            (Method::POST, "/videos", Some(&all[1..])),
            (Method::PUT, "/videos/7", Some(&all[1..])),
            (Method::PATCH, "/videos/7", Some(&all[1..])),
            (Method::DELETE, "/videos/7", Some(&all[2..])),
            (Method::DELETE, "/jobs/7", Some(&all[1..])),
            (Method::POST, "/transcribe", Some(&all[1..])),
            (Method::POST, "/analyze", Some(&all[1..])),
            (Method::POST, "/schedule", Some(&all[1..])),
            (Method::GET, "/", None),
            (Method::GET, "/health", None),
            (Method::GET, "/readyz", None),
            (Method::GET, "/livez", None),
            (Method::POST, "/login", None),
            (Method::POST, "/token/refresh", None),
            (Method::GET, "/.well-known/jwks.json", None),
            (Method::GET, "/videos2", None),
        ];
        for (method, path, roles) in table {
            assert_eq!(set.needed(&method, path), roles, "{method} {path}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let set = set(r#"{"jwt": {"issuer": "https://id.example", "audiences": ["api"], "roles": [
                {"methods": ["GET"], "path": {"value": "/a"}, "anyOf": ["viewer"]},
                {"path": {"type": "PathPrefix", "value": "/a"}, "anyOf": ["admin"]}]}}"#)
        .unwrap();
        assert_eq!(set.needed(&Method::GET, "/a"), Some(&[Role::Viewer][..]));
        assert_eq!(set.needed(&Method::PUT, "/a"), Some(&[Role::Admin][..]));
        assert_eq!(set.needed(&Method::GET, "/a/b"), Some(&[Role::Admin][..]));
        assert_eq!(set.needed(&Method::GET, "/b"), None);
    }

    #[test]
    fn naming_only_an_issuer_opens_no_route() {
        let set = set(r#"{"jwt": {"issuer": "https://id.example"}}"#).unwrap();
        assert!(set.needed(&Method::GET, "/videos").is_some());
        assert!(serde_json::from_str::<Auth>("{}").is_err(), "auth without jwt");
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_with_the_field_named() {
        for (text, field) in [
            (r#"{"jwt": {"issuer": ""}}"#, "issuer"),
            (r#"{"jwt": {"roles": [{"path": {"value": "a"}, "anyOf": ["admin"]}]}}"#, "auth.jwt.roles.path"),
            (r#"{"jwt": {"roles": [{"path": {"value": "/a"}, "anyOf": []}]}}"#, "anyOf"),
            (
                r#"{"jwt": {"roles": [{"methods": ["get"], "path": {"value": "/a"}, "anyOf": ["admin"]}]}}"#,
                "auth.jwt.roles.methods",
            ),
        ] {
            let error = set(text).map(|_| ()).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
        let unknown = r#"{"jwt": {"roles": [{"path": {"value": "/a"}, "anyOf": ["root"]}]}}"#;
        assert!(serde_json::from_str::<Auth>(unknown).is_err());
    }
}
