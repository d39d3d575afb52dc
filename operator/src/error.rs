//! What can go wrong in a pass, by what the operator does next.

use std::time::Duration;

use crds::Reason;
use kube::core::Status;
use render::Problem;

use crate::{gate::Closed, refusal::Refusal};

/// An error that ends a pass; the queue tries again with backoff.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the API server failed.
    #[error("request to the API server: {0}")]
    Api(Box<kube::Error>),
    /// A request was not sent.
    #[error(transparent)]
    Closed(Closed),
    /// A pass took too long.
    #[error("a pass took longer than {0:?}")]
    Deadline(Duration),
    /// A pass ended in a panic; the log says where.
    #[error("a pass ended in an internal error, which the operator's log tells more about")]
    Panic,
    /// A key that once existed is gone.
    #[error("secret {0} is gone from the operator's namespace; restore it from the backup")]
    KeyLost(&'static str),
    /// A key is there but cannot be used.
    #[error("secret {0} in the operator's namespace cannot be used; restore it from the backup")]
    KeyUnusable(&'static str),
    /// Certificates could not be made.
    #[error("making a certificate: {0}")]
    Pki(#[from] rcgen::Error),
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    Random,
    /// The watch of CRs holds one that this version cannot read.
    #[error("the resource cannot be read: {0}")]
    Unreadable(Box<kube::core::error_boundary::InvalidObject>),
    /// A task inside the operator ended early.
    #[error("internal task: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Closed::of(&error).map_or_else(|| Self::Api(Box::new(error)), Self::Closed)
    }
}

/// Label of an error in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The API server.
    Api,
    /// Keys and certificates.
    Pki,
    /// The resource.
    Resource,
    /// The operator itself.
    Internal,
}

impl Class {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Pki => "pki",
            Self::Resource => "resource",
            Self::Internal => "internal",
        }
    }
}

impl Error {
    /// Its class.
    pub const fn class(&self) -> Class {
        match self {
            Self::Api(_) | Self::Closed(_) => Class::Api,
            Self::KeyLost(_) | Self::KeyUnusable(_) | Self::Pki(_) => Class::Pki,
            Self::Unreadable(_) => Class::Resource,
            Self::Random | Self::Task(_) | Self::Deadline(_) | Self::Panic => Class::Internal,
        }
    }
}

/// What the server's refusal of a child means for the user. A 403 has at least four meanings (V9, V10).
pub fn problem(status: &Status, kind: render::Kind) -> Problem {
    if let Some(refusal) = Refusal::of(status) {
        return refusal.problem();
    }
    let has_cause =
        |cause: &str| status.details.as_ref().is_some_and(|d| d.causes.iter().any(|c| c.reason == cause));
    let message = &status.message;
    let reason = if status.is_forbidden() && message.contains("exceeded quota") {
        Reason::QuotaExceeded
    } else if status.is_forbidden() && has_cause("NamespaceTerminating") {
        Reason::Progressing
    } else if status.is_forbidden() || status.is_invalid() || matches!(status.code, 400 | 413) {
        Reason::Refused
    } else {
        Reason::ApiError
    };
    Problem { reason, message: format!("{}: {message}", kind.as_str()) }
}
