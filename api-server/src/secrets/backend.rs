//! What a place that holds secrets must be able to do. It knows no order and no fallback: that is the manager's.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use futures::future::BoxFuture;
use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;

/// What may be told of a secret; never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The backend that gave it.
    pub backend: &'static str,
    /// The backend's own version, where it has versions.
    pub version: Option<String>,
    /// When it was read.
    pub read_at: OffsetDateTime,
    /// When it ends, where the backend says so.
    pub expires: Option<OffsetDateTime>,
}

/// A value with what may be told of it. `Debug` shows no value, because `SecretString` does not.
#[derive(Clone, Debug)]
pub struct Found {
    /// The value.
    pub value: SecretString,
    /// What may be told.
    pub metadata: Metadata,
}

/// What a backend has of the names that it was asked for. A name without a value is left out.
pub type Answer = BTreeMap<&'static str, Found>;

/// Why a backend gave no answer. The texts are ours: what a server answers may repeat what it was sent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BackendError {
    /// Nobody answered, or not in time: trying again may help.
    #[error("{0}")]
    Unreachable(String),
    /// It was reached, and something must be mended first.
    #[error("{0}")]
    Refused(String),
}

/// A place that holds secrets. Its health is the outcome of its last read: what cannot be read is not healthy.
pub trait Backend: Send + Sync + fmt::Debug {
    /// The name in settings, logs and metrics.
    fn name(&self) -> &'static str;

    /// Whether reading costs no network, so that it may be done with every look at the watched files.
    fn local(&self) -> bool {
        false
    }

    /// Everything it has of `names`, or why it has no answer at all.
    fn read<'a>(&'a self, names: &'a [&'static str]) -> BoxFuture<'a, Result<Answer, BackendError>>;
}

/// A value as read now. Empty means absent: an emptied variable or file is how people remove a secret.
pub(super) fn found(
    backend: &'static str,
    value: &str,
    version: Option<String>,
    expires: Option<OffsetDateTime>,
) -> Option<Found> {
    let metadata = Metadata { backend, version, read_at: OffsetDateTime::now_utc(), expires };
    (!value.is_empty()).then(|| Found { value: value.into(), metadata })
}

/// A credential for a backend, from a file or else a variable; `None` where neither is set. It is read for each login,
/// because agents rotate these files.
pub(super) fn credential(file: Option<&Path>, variable: &str) -> Result<Option<SecretString>, BackendError> {
    let text = match file {
        Some(path) => fs::read_to_string(path)
            .map(Some)
            .map_err(|e| BackendError::Refused(format!("cannot read {}: {e}", path.display())))?,
        None => std::env::var(variable).ok(),
    };
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    // It becomes a header or a form field; the clients panic on or repeat what cannot be one.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let place = file.map_or_else(|| variable.to_owned(), |path| path.display().to_string());
        return Err(BackendError::Refused(format!("{place} is empty or holds more than one word")));
    }
    Ok(Some(text.into()))
}
