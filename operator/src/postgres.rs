//! Postgres as a Job sees it: what came of a login, in words without a value.

mod harden;
mod login;

use serde::{Deserialize, Serialize};

pub use harden::harden;
pub use login::login;

/// What came of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Outcome {
    /// Postgres let it in.
    LoggedIn,
    /// The value is no address of Postgres.
    InvalidUrl,
    /// Nobody answers as Postgres there, or not yet.
    Unreachable,
    /// TLS failed: the server has none, or its certificate is not trusted or not for this host.
    TlsFailed,
    /// The user or the password is wrong, or the server's rules do not let the user in.
    AuthFailed,
    /// There is no such database.
    DatabaseMissing,
    /// Every connection is taken.
    TooManyConnections,
    /// Postgres refused it otherwise; the SQLSTATE says why.
    Refused,
}

impl Outcome {
    /// In a sentence behind the name of the value.
    pub const fn words(self) -> &'static str {
        match self {
            Self::LoggedIn => "logs in",
            Self::InvalidUrl => {
                "is no address of Postgres; write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full"
            }
            Self::Unreachable => {
                "leads to no Postgres that answers; correct host and port, or open the way in spec.network.egressTo"
            }
            Self::TlsFailed => {
                "leads to a server without TLS or with a certificate that is not trusted; correct sslmode and sslrootcert, or \
                 the server's certificate"
            }
            Self::AuthFailed => {
                "is not let in; set the same password in Postgres and in the source, and look at pg_hba.conf"
            }
            Self::DatabaseMissing => "names a database that does not exist; create it, or correct the name",
            Self::TooManyConnections => "finds every connection taken; raise max_connections, or use fewer",
            Self::Refused => "is refused by Postgres",
        }
    }
}

/// What the Job says when it ends: what came of the first login that failed, or of the last one.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Name of the value with the address.
    pub url: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Postgres' own code, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
}
