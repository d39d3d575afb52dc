//! Values that the workload gets as environment or files: where they come from, how they are called, what follows a change.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GepDuration;

/// Names as Vault takes them, with slashes between them; `..`, which a path would follow upwards, is none.
const VAULT_PATH: &str =
    "^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?(/[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?){0,15}$";
const VAULT_NAME: &str = "^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9_])?$";
/// Keys of a Secret, and so names of files.
const KEY: &str = "^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$";
const CLOCK: &str = "^([01][0-9]|2[0-3]):[0-5][0-9]$";
const KEY_ADVICE: &str = "letters, digits, -, _ and ., beginning and ending with a letter, digit or _";

/// Values from Vault and from Secrets, synced into one Secret of the operator's. All of them or none: while one is missing,
/// what the workload has stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.sources.filter(s, has(s.secret)).size() <= 4")
        .message("spec.secrets.sources: at most four of them may be secret; put the values of several Secrets into one"),
    validation = Rule::new("!has(self.templates) || self.templates.all(t, self.templates.exists_one(u, u.name == t.name))")
        .message("spec.secrets.templates: every name must be unique; rename one of the two"),
    validation = Rule::new("has(self.delivery) && self.delivery == 'files' || (!has(self.templates) || self.templates.all(t, t.name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))) && self.sources.all(s, (!has(s.vault) || !has(s.vault.keys) || s.vault.keys.all(k, (has(k.name) ? k.name : k.key).matches('^[A-Za-z_][A-Za-z0-9_]*$'))) && (!has(s.secret) || !has(s.secret.keys) || s.secret.keys.all(k, (has(k.name) ? k.name : k.key).matches('^[A-Za-z_][A-Za-z0-9_]*$'))))")
        .message("spec.secrets: with delivery env every name must be one of an environment variable: letters, digits and _, not beginning with a digit; give the key such a name, or use delivery: files")
)]
pub struct Secrets {
    /// How the workload gets them: `env` (variables of the container) or `files` (one file for each in
    /// /etc/hardened/secrets, which `SECRETS_DIR` names). Default: env.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Where the values come from, in this order: of two values with the same name the later one counts.
    #[schemars(length(min = 1, max = 8))]
    pub sources: Vec<SecretSource>,
    /// Values that are composed of others, such as the address of a database with its password.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub templates: Vec<SecretTemplate>,
    /// Names that must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    #[x_kube(validation = crate::rules::each_matches("spec.secrets.required", KEY, KEY_ADVICE))]
    pub required: Vec<String>,
    /// How often Vault is read (GEP-2257), 5s to 24h; up to a tenth sooner, by chance. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = crate::rules::duration("spec.secrets.refreshInterval", "5s", "24h"))]
    pub refresh_interval: Option<GepDuration>,
    /// Whether a changed value restarts the pods: `OnChange` or `Never`. Default: `OnChange` with delivery env, Never with
    /// files, which the workload reads again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<SecretsRestart>,
    /// Names whose change restarts nothing. With delivery env the pods see it after the next restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    #[x_kube(validation = crate::rules::each_matches("spec.secrets.withoutRestart", KEY, KEY_ADVICE))]
    pub without_restart: Vec<String>,
    /// Values that are addresses of Postgres. Before a changed one reaches the pods, a Job logs in with it; while that fails,
    /// what the workload has stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub postgres_logins: Vec<PostgresLogin>,
    /// When restarts for new values may begin. Outside, the pods and the operator's Secret keep the values before. Left out:
    /// at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub change_windows: Vec<ChangeWindow>,
}

/// One address of Postgres among the values.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct PostgresLogin {
    /// Name of the value with the address: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`.
    #[schemars(length(max = 128))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.postgresLogins.url", KEY, KEY_ADVICE))]
    pub url: String,
    /// Name of the value with the password, where the address has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.postgresLogins.password", KEY, KEY_ADVICE))]
    pub password: Option<String>,
}

/// A time of each day, or of some days of the week, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct ChangeWindow {
    /// Days on which it begins. Left out: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Weekday>,
    /// When it begins, HH:MM.
    #[schemars(length(max = 5))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.changeWindows.from", CLOCK, "a time of day in UTC, such as 02:30"))]
    pub from: String,
    /// When it ends, HH:MM; on the next day if that is not later than `from`.
    #[schemars(length(max = 5))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.changeWindows.to", CLOCK, "a time of day in UTC, such as 02:30"))]
    pub to: String,
}

/// Day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// How the workload gets its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = crate::schema::without_description)]
pub enum Delivery {
    /// Variables of the container.
    #[default]
    Env,
    /// Files in /etc/hardened/secrets.
    Files,
}

/// Whether a changed value restarts the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum SecretsRestart {
    /// One rolling restart for each set of changes.
    OnChange,
    /// None.
    Never,
}

/// Exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("[has(self.vault), has(self.secret)].filter(x, x).size() == 1")
        .message("spec.secrets.sources: must have exactly one member; set vault: {path: ...} or secret: {name: ...}")
)]
pub struct SecretSource {
    /// A path of a KV engine of a Vault that the platform connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultKv>,
    /// A Secret of this namespace, which somebody else writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretValuesOf>,
}

/// A path of Vault's KV engine, version 1 or 2. The operator logs in with a ServiceAccount of the service's namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultKv {
    /// Name of the connection in the operator's settings. Default: default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.sources.vault.connection", VAULT_NAME, "the name of a connection: letters, digits, -, _ and ., beginning and ending with a letter, digit or _"))]
    pub connection: Option<String>,
    /// Where the engine is mounted; the operator's settings must list it. Default: the first that they list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.sources.vault.mount", VAULT_PATH, "a path: names of letters, digits, -, _ and ., with / between them"))]
    pub mount: Option<String>,
    /// Path below the mount, as `vault kv get` takes it: without `data/`.
    #[schemars(length(max = 512))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.sources.vault.path", VAULT_PATH, "a path: names of letters, digits, -, _ and ., with / between them, such as shop/database"))]
    pub path: String,
    /// Which version, in an engine of version 2. Left out: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub version: Option<i64>,
    /// Which values. Left out: all of them, by their own names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.all(k, self.exists_one(l, (has(l.name) ? l.name : l.key) == (has(k.name) ? k.name : k.key)))")
        .message("spec.secrets.sources.vault.keys: every name must be unique; rename one of the two"))]
    pub keys: Vec<SecretKey>,
}

/// A Secret of this namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct SecretValuesOf {
    /// Its name. It must carry the label `hardened.dev/service: NAME`, set by somebody who may write it.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.secrets.sources.secret.name", "self"))]
    pub name: String,
    /// Which values. Left out: all of them, by their own names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.all(k, self.exists_one(l, (has(l.name) ? l.name : l.key) == (has(k.name) ? k.name : k.key)))")
        .message("spec.secrets.sources.secret.keys: every name must be unique; rename one of the two"))]
    pub keys: Vec<SecretKey>,
}

/// One value of a source, and its name for the workload.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct SecretKey {
    /// Its key in the source.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Its name for the workload. Default: the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.sources.keys.name", KEY, KEY_ADVICE))]
    pub name: Option<String>,
}

/// A value that is composed of others.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct SecretTemplate {
    /// Its name for the workload.
    #[schemars(length(max = 128))]
    #[x_kube(validation = crate::rules::matches("spec.secrets.templates.name", KEY, KEY_ADVICE))]
    pub name: String,
    /// Text in which `{{NAME}}` becomes the value of that name, and `{{NAME|urlencode}}` the same for a part of a URL
    /// (percent-encoded, RFC 3986).
    #[schemars(length(min = 1, max = 1024))]
    pub template: String,
}
