//! The settings of tokens: flags, each with an environment variable. Keys are secrets and never among them.

use std::path::PathBuf;

use clap::Args;

/// Who signs for whom, and where others' keys are.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Issuer of the service's own access tokens
    #[arg(long, env = "JWT_ISSUER", value_name = "NAME", default_value = "api-server", value_parser = name)]
    pub jwt_issuer: String,
    /// Audience of the service's own access tokens
    #[arg(long, env = "JWT_AUDIENCE", value_name = "NAME", default_value = "api-server", value_parser = name)]
    pub jwt_audience: String,
    /// Seconds that an access token is good for
    #[arg(long, env = "JWT_ACCESS_TTL", value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    pub jwt_access_ttl: u64,
    /// Where the public keys of another issuer are (JWK Set), https; in development also http to loopback
    #[arg(long, env = "JWKS_URI", value_name = "URL")]
    pub jwks_uri: Option<String>,
    /// PEM file of roots to trust for `JWKS_URI` beside the public ones
    #[arg(long, env = "JWKS_CA_FILE", value_name = "FILE")]
    pub jwks_ca_file: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, &'static str> {
    let good = (1..=256).contains(&text.len());
    good.then(|| text.to_owned()).ok_or("must be 1 to 256 bytes")
}
