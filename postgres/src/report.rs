//! What a Job says when it ends: Kubernetes keeps 4096 bytes of it. Values of it may come from a database of somebody else's;
//! none is a secret.

use serde::{Deserialize, Serialize};

use crate::{Check, Extension, Outcome, Problem, Setting, Verification, problem::cut};

/// Bytes that Kubernetes keeps of what a container says when it ends.
pub const LARGEST: usize = 4096;
/// Bytes of JSON that a problem's two sentences may take.
const SENTENCE: usize = 700;
const LINE: usize = 120;
const FIX: usize = 500;
/// Longer than any name, version or cipher that means no harm.
const NAME: usize = 70;
/// No plan has more lines or checks; whatever is beyond that never has room.
const MOST: usize = 32;

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

impl Report {
    /// What the run changed, and what it saw in the end or what stood in its way.
    pub fn of(changed: Vec<String>, found: Result<Verification, Problem>) -> Self {
        match found {
            Ok(found) => Self { problem: None, changed, evidence: Some(Evidence::of(found)) },
            Err(problem) => Self { problem: Some(problem), changed, evidence: None },
        }
    }

    /// Whether everything was seen to be as it should.
    pub fn is_proven(&self) -> bool {
        let is_closed = |evidence: &Evidence| evidence.open.is_empty() && evidence.more == 0;
        self.problem.is_none() && self.evidence.as_ref().is_some_and(is_closed)
    }

    /// As JSON of at most [`LARGEST`] bytes, whatever a database holds: texts are cut, then checks that are open give way,
    /// from the last to the first, then lines of what changed.
    pub fn to_json(&self) -> String {
        let mut report = self.cut();
        loop {
            // None of it is a map with keys that are no texts, so it can always be written.
            let text = serde_json::to_string(&report).unwrap_or_default();
            if text.len() <= LARGEST || !report.shrink() {
                return text;
            }
        }
    }

    fn cut(&self) -> Self {
        let problem = self.problem.as_ref().map(|problem| Problem {
            reason: problem.reason,
            detail: cut(&problem.detail, SENTENCE),
            fix: cut(&problem.fix, SENTENCE),
        });
        let changed = self.changed.iter().take(MOST).map(|line| cut(line, LINE)).collect();
        Self { problem, changed, evidence: self.evidence.as_ref().map(Evidence::cut) }
    }

    /// Whether there was something that could be left out.
    fn shrink(&mut self) -> bool {
        if let Some(evidence) = self.evidence.as_mut().filter(|evidence| !evidence.open.is_empty()) {
            evidence.open.pop();
            evidence.more += 1;
            return true;
        }
        self.changed.pop().is_some()
    }
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

impl Evidence {
    fn of(found: Verification) -> Self {
        let (mut open, passed): (Vec<_>, Vec<_>) =
            found.checks.into_iter().partition(|check| check.outcome != Outcome::Passed);
        // Stable: each half keeps its order.
        open.sort_by_key(|check| check.outcome != Outcome::Failed);
        Self {
            server_version: found.server_version,
            extensions: found.extensions,
            settings: found.settings,
            audit: found.audit,
            tls: found.tls,
            passed: passed.len(),
            open,
            more: 0,
        }
    }

    fn cut(&self) -> Self {
        let Self { server_version, extensions, settings, audit, tls, passed, open, more } = self;
        let extensions = extensions.iter().map(|SeenExtension { name, version, schema }| SeenExtension {
            name: *name,
            version: cut(version, NAME),
            schema: cut(schema, NAME),
        });
        let settings = settings
            .iter()
            .map(|SeenSetting { name, value }| SeenSetting { name: *name, value: cut(value, LINE) });
        let more = more + open.len().saturating_sub(MOST);
        let open = open.iter().take(MOST).map(|check| Check {
            evidence: cut(&check.evidence, 2 * LINE),
            fix: check.fix.as_ref().map(|fix| cut(fix, FIX)),
            ..*check
        });
        Self {
            server_version: *server_version,
            extensions: extensions.collect(),
            settings: settings.collect(),
            audit: *audit,
            tls: tls.as_ref().map(|SeenTls { version, cipher, verified }| SeenTls {
                version: cut(version, NAME),
                cipher: cut(cipher, NAME),
                verified: *verified,
            }),
            passed: *passed,
            open: open.collect(),
            more,
        }
    }
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

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
