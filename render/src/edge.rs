//! The proxy in front of the workload, as the text that configures it. It reads no file and asks no server.

mod headers;
mod limits;
pub mod nginx;
mod quote;

use std::fmt;

use thiserror::Error;

/// Where the workload is, and how the proxy knows that it is the right one.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// HOST:PORT.
    pub address: String,
    /// The name in the workload's certificate.
    pub server_name: String,
    /// File with the authority that signed that certificate.
    pub ca: String,
}

/// Files on the proxy's host.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate that clients see, with its chain.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// Folder that is served below `/static/`.
    pub static_folder: Option<String>,
}

/// Something of the spec that this proxy cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotExpressible {
    /// The field.
    pub field: String,
    /// What becomes of it here, with the value that counts.
    pub here: String,
    /// Who enforces it, or what to do.
    pub instead: String,
}

impl fmt::Display for NotExpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.here, self.instead)
    }
}

/// A value that must not reach the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: must be {advice}")]
pub struct EdgeError {
    /// The field.
    pub field: String,
    /// What to write instead.
    pub advice: &'static str,
}
