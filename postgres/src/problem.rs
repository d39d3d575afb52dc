//! What stands in the way, and what to do about it. Told by the class of an error and its SQLSTATE, never by the server's
//! text, which is in its own language and may repeat a statement with a secret.

use std::{borrow::Cow, fmt, io::ErrorKind};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::plan::{Extension, Invalid};

/// No sentence of a report is longer, in characters.
const LONGEST: usize = 1000;

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Error, Deserialize, Serialize)]
#[error("{reason}: {detail}; {fix}")]
pub struct Problem {
    /// Which kind it is.
    pub reason: Reason,
    /// What was seen.
    pub detail: String,
    /// What takes it out of the way.
    pub fix: String,
}

/// Why it did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Reason {
    /// The server did not load a library at its start, and will not at its next one.
    PreloadMissing,
    /// The server's configuration has the library, but it was not restarted since.
    RestartPending,
    /// The role may not do it.
    NotSuperuser,
    /// The server does not have the extension, or not in this version.
    NotAvailable,
    /// Postgres is older than 13.
    UnsupportedVersion,
    /// The server takes no writes.
    ReadOnlyStandby,
    /// Nobody answers as Postgres, or not in time.
    Unreachable,
    /// The user or the password is wrong, or the server's rules do not let the user in.
    AuthFailed,
    /// The server has no TLS, or its certificate is not trusted or not for this host.
    TlsFailed,
    /// There is no such database.
    DatabaseMissing,
    /// Every connection is taken.
    TooManyConnections,
    /// The address is none of Postgres.
    InvalidUrl,
    /// There is no such schema.
    SchemaMissing,
    /// The extension is installed, but elsewhere.
    WrongSchema,
    /// Postgres refused it otherwise; the detail says why, or its SQLSTATE.
    Refused,
}

/// What was being done when something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Connect,
    Look,
    Create(Extension),
    Update(Extension),
    Drop(Extension),
    MakeRole,
    DropRole,
    Set,
    Commit,
}

impl Reason {
    /// Its name, in metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreloadMissing => "PreloadMissing",
            Self::RestartPending => "RestartPending",
            Self::NotSuperuser => "NotSuperuser",
            Self::NotAvailable => "NotAvailable",
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::ReadOnlyStandby => "ReadOnlyStandby",
            Self::Unreachable => "Unreachable",
            Self::AuthFailed => "AuthFailed",
            Self::TlsFailed => "TlsFailed",
            Self::DatabaseMissing => "DatabaseMissing",
            Self::TooManyConnections => "TooManyConnections",
            Self::InvalidUrl => "InvalidUrl",
            Self::SchemaMissing => "SchemaMissing",
            Self::WrongSchema => "WrongSchema",
            Self::Refused => "Refused",
        }
    }

    /// Whether only somebody's change helps; everything else may be over by itself or is mended where nobody tells of it, so
    /// it is tried again.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::PreloadMissing
            | Self::NotSuperuser
            | Self::NotAvailable
            | Self::UnsupportedVersion
            | Self::InvalidUrl
            | Self::SchemaMissing
            | Self::WrongSchema
            | Self::Refused => true,
            Self::RestartPending
            | Self::ReadOnlyStandby
            | Self::Unreachable
            | Self::AuthFailed
            | Self::TlsFailed
            | Self::DatabaseMissing
            | Self::TooManyConnections => false,
        }
    }

    /// The reason of an error and its SQLSTATE, whatever was being done.
    pub fn of(error: &sqlx::Error) -> (Self, Option<String>) {
        let code = match error {
            sqlx::Error::Database(error) => error.code().filter(|code| is_sqlstate(code)),
            sqlx::Error::Tls(_) => return (Self::TlsFailed, None),
            sqlx::Error::Io(error) if is_of_tls(error) => return (Self::TlsFailed, None),
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => return (Self::Unreachable, None),
            sqlx::Error::Configuration(_) => return (Self::InvalidUrl, None),
            _ => None,
        };
        (code.as_deref().map_or(Self::Refused, Self::of_sqlstate), code.map(Cow::into_owned))
    }

    fn of_sqlstate(code: &str) -> Self {
        match code {
            "42501" => Self::NotSuperuser,
            "0A000" | "58P01" => Self::NotAvailable,
            "28000" | "28P01" => Self::AuthFailed,
            "3D000" => Self::DatabaseMissing,
            "53300" => Self::TooManyConnections,
            "25006" => Self::ReadOnlyStandby,
            "3F000" => Self::SchemaMissing,
            // A deadline, a lock that was not to be had, and somebody who did the same at the same time.
            "57014" | "55P03" | "40001" | "40P01" | "23505" => Self::Unreachable,
            // Starting up, shutting down, and a connection that broke.
            code if code.starts_with("57P0") || code.starts_with("08") => Self::Unreachable,
            _ => Self::Refused,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connecting"),
            Self::Look => f.write_str("looking at the server"),
            Self::Create(extension) => write!(f, "creating extension {extension}"),
            Self::Update(extension) => write!(f, "updating extension {extension}"),
            Self::Drop(extension) => write!(f, "dropping extension {extension}"),
            Self::MakeRole => f.write_str("creating pgaudit's role"),
            Self::DropRole => f.write_str("dropping pgaudit's role"),
            Self::Set => f.write_str("setting pgaudit's settings"),
            Self::Commit => f.write_str("committing"),
        }
    }
}

impl Problem {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason, detail: tame(&detail.into()), fix: fix.into() }
    }

    /// With the usual fix of its reason.
    pub(crate) fn usual(reason: Reason, doing: Doing, detail: impl Into<String>) -> Self {
        Self::new(reason, detail, crate::remedy::of(reason, doing))
    }

    /// Of an error of the driver, of which nothing but its class and its SQLSTATE is told.
    pub(crate) fn of(error: &sqlx::Error, doing: Doing) -> Self {
        let (reason, code) = Reason::of(error);
        let reason = match (doing, code.as_deref()) {
            // pgaudit says so when its library was not loaded; other scripts say it of objects that stand in their way.
            (Doing::Create(extension), Some("55000")) if extension.needs_preload() => Reason::PreloadMissing,
            // No CONNECT on the database: no superuser is needed for that.
            (Doing::Connect, Some("42501")) => Reason::Refused,
            _ => reason,
        };
        let why = match (code, error) {
            (Some(code), _) => format!("SQLSTATE {code}"),
            (None, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => "the connection failed".to_owned(),
            (None, sqlx::Error::Tls(_)) => "no TLS".to_owned(),
            (None, _) => "an answer that is none of Postgres".to_owned(),
        };
        Self::usual(reason, doing, format!("{doing}: {why}"))
    }

    /// For `map_err`.
    pub(crate) fn when(doing: Doing) -> impl FnOnce(sqlx::Error) -> Self {
        move |error| Self::of(&error, doing)
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::new(Reason::Refused, format!("{}: {}", invalid.field, invalid.problem), invalid.fix)
    }
}

/// Whether an error says that the role may not do this.
pub(crate) fn is_denied(error: &sqlx::Error) -> bool {
    Reason::of(error).0 == Reason::NotSuperuser
}

/// Names in the catalogue may be anything, and a report is for people and terminals.
pub(crate) fn tame(text: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(plain).take(LONGEST).collect()
}

/// A text that takes at most so many bytes in JSON, its two quotes aside; what was cut ends with `…`.
pub(crate) fn cut(text: &str, bytes: usize) -> String {
    let size = |c: char| if matches!(c, '"' | '\\') { 2 } else { c.len_utf8() };
    let text = tame(text);
    if text.chars().map(size).sum::<usize>() <= bytes {
        return text;
    }
    let mut room = bytes - '…'.len_utf8();
    let fits = |c: &char| room.checked_sub(size(*c)).map(|rest| room = rest).is_some();
    text.chars().take_while(fits).chain(['…']).collect()
}

/// A server may send anything; only what is a code is repeated.
pub fn is_sqlstate(code: &str) -> bool {
    code.len() == 5 && code.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// rustls' errors come as those of the socket, as data that is invalid; a file that is not there or may not be read is the
/// address's `sslrootcert`.
fn is_of_tls(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::InvalidData)
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
