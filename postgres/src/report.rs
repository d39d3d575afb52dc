//! What a Job says when it ends: Kubernetes keeps 4096 bytes of it. Values of it may come from a database of somebody else's;
//! none is a secret.

use serde::{Deserialize, Serialize};

use crate::{Check, Extension, Problem, Setting};

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// What stood in the way; nothing was verified then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// One line for each change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// What a verification saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// Such as 150018 for 15.18.
    pub server_version: i32,
    /// The extensions of the plan that are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<SeenExtension>,
    /// pgaudit's settings as a new session has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<SeenSetting>,
    /// How the line of a marked statement was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Proof>,
    /// How the connection is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<SeenTls>,
    /// How many checks passed.
    #[serde(default)]
    pub passed: usize,
    /// What did not pass: what failed first, then what could not be seen; as much as there is room for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Check>,
    /// How many more did not pass.
    #[serde(default)]
    pub more: usize,
}

/// An extension that is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeenExtension {
    /// Which one.
    pub name: Extension,
    /// Its version.
    pub version: String,
    /// The schema of its objects.
    pub schema: String,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeenSetting {
    /// Which one.
    pub name: Setting,
    /// As `SHOW` gives it.
    pub value: String,
}

/// A connection that is encrypted, as the server says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeenTls {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// The name that OpenSSL gives the suite.
    pub cipher: String,
    /// Whether the client verified the server's certificate and that it is for this host.
    pub verified: bool,
}

/// Where the line of a marked statement was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Proof {
    /// In the server's log.
    ServerLog,
    /// As the server tells the session: the role may not read the log.
    ClientOnly,
}
