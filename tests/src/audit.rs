//! Counting what clients asked of the apiserver, read from its audit log. It sends only its own marks.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use serde::Deserialize;

use crate::wait::{Look, wait_until};

const MARK_LIMIT: Duration = Duration::from_secs(30);
static MARKS: AtomicU64 = AtomicU64::new(0);

/// The audit log of a running testbed.
#[derive(Clone)]
pub struct Audit {
    client: Client,
    log: PathBuf,
}

/// A place in the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// One request that was answered, or a watch that was opened.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asked; the impersonated user where one was.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group; empty for the core.
    pub group: String,
    /// Plural name; empty for a path that is no resource.
    pub resource: String,
    /// `status`, `scale` and so on; empty for the object itself.
    pub subresource: String,
    /// Namespace; empty outside.
    pub namespace: String,
    /// Name; empty for a list and for a create.
    pub name: String,
    /// Path and query.
    pub uri: String,
    /// Status code of the answer.
    pub code: u16,
}

/// Requests in the order of their answers. Each method narrows them; printing lists them.
#[derive(Clone, Debug)]
pub struct Requests(pub Vec<Request>);

impl Audit {
    pub(crate) fn new(client: Client, log: PathBuf) -> Self {
        Self { client, log }
    }

    /// The present end of the log: everything that was answered before lies before it.
    pub async fn mark(&self) -> Result<Mark> {
        let from = std::fs::metadata(&self.log)?.len();
        Ok(Mark(self.settle(from).await?.1))
    }

    /// What was answered since the mark.
    pub async fn since(&self, mark: Mark) -> Result<Requests> {
        let (text, _) = self.settle(mark.0).await?;
        let lines = text.lines().filter(|line| !line.contains(MARK));
        let parsed: Result<Vec<_>, _> = lines.map(serde_json::from_str::<Line>).collect();
        let requests = parsed.context("read the audit log")?.into_iter().filter_map(Line::request);
        Ok(Requests(requests.collect()))
    }

    /// Sends a request of its own and waits until the log shows it; what was answered before it is then in the
    /// log too. Gives the text from `from` on, and the offset behind it.
    async fn settle(&self, from: u64) -> Result<(String, u64)> {
        let mark = format!("{MARK}{}-{}", std::process::id(), MARKS.fetch_add(1, Ordering::Relaxed));
        let request = http::Request::get(format!("/version?{mark}-")).body(Vec::new())?;
        self.client.request_text(request).await?;
        wait_until(MARK_LIMIT, "the audit log to show a mark", async || match read_from(&self.log, from) {
            Ok(text) if text.contains(&format!("{mark}-")) && text.ends_with('\n') => {
                let end = from + text.len() as u64;
                Look::Done((text, end))
            }
            Ok(text) => Look::NotYet(format!("{} bytes", text.len())),
            Err(error) => Look::NotYet(error.to_string()),
        })
        .await
    }
}

impl Requests {
    /// Those of one user.
    #[must_use]
    pub fn by(self, user: &str) -> Self {
        self.only(|request| request.user == user)
    }

    /// Those within one namespace.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        self.only(|request| request.namespace == namespace)
    }

    /// Those with one verb.
    #[must_use]
    pub fn verb(self, verb: &str) -> Self {
        self.only(|request| request.verb == verb)
    }

    /// Those on one resource, its subresources left out.
    #[must_use]
    pub fn resource(self, resource: &str) -> Self {
        self.only(|request| request.resource == resource && request.subresource.is_empty())
    }

    /// Those on one subresource.
    #[must_use]
    pub fn subresource(self, resource: &str, subresource: &str) -> Self {
        self.only(|request| request.resource == resource && request.subresource == subresource)
    }

    /// Those that may change something: no dry runs, events aside.
    #[must_use]
    pub fn writes(self) -> Self {
        self.only(|request| request.is_write() && !request.is_dry_run() && request.resource != "events")
    }

    /// Those that only asked what a write would do.
    #[must_use]
    pub fn dry_runs(self) -> Self {
        self.only(Request::is_dry_run)
    }

    /// All but the watches.
    #[must_use]
    pub fn besides_watches(self) -> Self {
        self.only(|request| request.verb != "watch")
    }

    /// Those that pass a test.
    #[must_use]
    pub fn only(mut self, test: impl Fn(&Request) -> bool) -> Self {
        self.0.retain(test);
        self
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Request {
    /// Whether the verb changes something.
    pub fn is_write(&self) -> bool {
        matches!(&*self.verb, "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it was a dry run, as its query says; kube puts that of a DELETE into the body, which is not logged.
    pub fn is_dry_run(&self) -> bool {
        self.uri.contains("dryRun=All")
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} requests", self.0.len())?;
        for Request { user, verb, uri, code, name, .. } in &self.0 {
            writeln!(out, "  {user} {verb} {uri} {name} -> {code}")?;
        }
        Ok(())
    }
}

const MARK: &str = "testbed-mark-";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Answer,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    code: u16,
}

impl Line {
    /// A watch counts when it opens, everything else when it is answered.
    fn request(self) -> Option<Request> {
        let counts = if self.verb == "watch" {
            self.stage == "ResponseStarted"
        } else {
            self.stage != "ResponseStarted"
        };
        let Object { api_group, resource, subresource, namespace, name } = self.object_ref;
        counts.then(|| Request {
            user: self.impersonated_user.unwrap_or(self.user).username,
            verb: self.verb,
            group: api_group,
            resource,
            subresource,
            namespace,
            name,
            uri: self.uri,
            code: self.response_status.code,
        })
    }
}

fn read_from(log: &Path, offset: u64) -> Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
