//! What the process is started with: flags, each with an environment variable. It reads no file and opens no socket.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::{jwt, secrets::SecretsConfig};

/// Where the service runs; rules get stricter from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine: binds to loopback unless told otherwise.
    Development,
    /// As production, with data that may be lost.
    Staging,
    /// The default, because a forgotten setting must not open anything.
    Production,
}

/// Settings of the process. What may change while it runs is in the policy file instead.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Where the service runs
    #[arg(long, env = "ENVIRONMENT", value_enum, default_value = "production")]
    pub environment: Environment,
    /// Address of the API [default: 0.0.0.0:8443, in development 127.0.0.1:8080]
    #[arg(long, env = "API_BIND", value_name = "IP:PORT")]
    pub api_bind: Option<SocketAddr>,
    /// Address of /metrics, plain HTTP [default: 0.0.0.0:9090, in development 127.0.0.1:9090]
    #[arg(long, env = "METRICS_BIND", value_name = "IP:PORT")]
    pub metrics_bind: Option<SocketAddr>,
    /// Directory with tls.crt, tls.key and ca.crt; when set, the API is served over TLS and follows changes
    #[arg(long, env = "TLS_DIR", value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// JSON policy file (headers, trusted hosts, rate limits), followed while running; without one the built-in
    /// policy counts
    #[arg(long, env = "POLICY_FILE", value_name = "FILE")]
    pub policy_file: Option<PathBuf>,
    /// How often the TLS directory and the policy file are looked at, in seconds
    #[arg(long, env = "RELOAD_INTERVAL", value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub reload_interval: u64,
    /// Worker threads [default: one per CPU]
    #[arg(long, env = "WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Connections served at once, over all workers; further ones wait
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Connections that one client address may have; further ones are closed. Trusted proxies of the policy may have any number
    #[arg(long, env = "MAX_CONNECTIONS_PER_CLIENT", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections_per_client: u32,
    /// Largest request body in bytes
    #[arg(long, env = "MAX_BODY_BYTES", default_value_t = 256 * 1024)]
    pub max_body_bytes: usize,
    /// Seconds a client has for the TLS handshake and for each request's headers
    #[arg(long, env = "HEADER_TIMEOUT", value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub header_timeout: u64,
    /// Seconds a client has for the body of a request, and may leave an answer unread
    #[arg(long, env = "BODY_TIMEOUT", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub body_timeout: u64,
    /// Postgres connections of this replica
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_max_connections: u32,
    /// PEM file with the certificates of the authority that has signed the Redis server's; without it the public ones count
    #[arg(long, env = "REDIS_CA_FILE", value_name = "FILE")]
    pub redis_ca_file: Option<PathBuf>,
    /// Seconds that a refresh token lives
    #[arg(long, env = "JWT_REFRESH_TTL", value_name = "SECONDS", default_value_t = 14 * 24 * 3600, value_parser = clap::value_parser!(u64).range(60..=90 * 24 * 3600))]
    pub refresh_ttl: u64,
    /// Seconds after which a job's worker counts as lost and another one takes the job
    #[arg(long, env = "JOB_LEASE", value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub job_lease: u64,
    /// The AI provider.
    #[command(flatten)]
    pub ai: Ai,
    /// Seconds between /readyz turning false and the end of new connections; meanwhile clients are told to go
    #[arg(long, env = "DRAIN_DELAY", value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub drain_delay: u64,
    /// Seconds that requests in flight get to finish after that
    #[arg(long, env = "SHUTDOWN_TIMEOUT", value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub shutdown_timeout: u64,
    /// Where secrets come from.
    #[command(flatten)]
    pub secrets: SecretsConfig,
    /// Tokens
    #[command(flatten)]
    pub jwt: jwt::Settings,
}

/// The AI provider: an HTTP service with OpenAI's paths. Its key is a secret, `AI_API_KEY`.
#[derive(Clone, Debug, Args)]
pub struct Ai {
    /// Address of the AI provider's API, such as <https://api.openai.com/v1>
    #[arg(long = "ai-base-url", env = "AI_BASE_URL", value_name = "URL")]
    pub base_url: Option<String>,
    /// Model that answers questions
    #[arg(long = "ai-model", env = "AI_MODEL", value_name = "NAME", default_value = "gpt-4o-mini")]
    pub model: String,
    /// Model that transcribes
    #[arg(
        long = "ai-transcription-model",
        env = "AI_TRANSCRIPTION_MODEL",
        value_name = "NAME",
        default_value = "whisper-1"
    )]
    pub transcription_model: String,
    /// PEM file of the CA that signed the provider's certificate, beside the public ones
    #[arg(long = "ai-ca-file", env = "AI_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// The address of the API.
    pub fn api_addr(&self) -> SocketAddr {
        self.api_bind.unwrap_or_else(|| match self.environment {
            Environment::Development => SocketAddr::from(([127, 0, 0, 1], 8080)),
            Environment::Staging | Environment::Production => SocketAddr::from(([0, 0, 0, 0], 8443)),
        })
    }

    /// The address of the metrics.
    pub fn metrics_addr(&self) -> SocketAddr {
        self.metrics_bind.unwrap_or_else(|| match self.environment {
            Environment::Development => SocketAddr::from(([127, 0, 0, 1], 9090)),
            Environment::Staging | Environment::Production => SocketAddr::from(([0, 0, 0, 0], 9090)),
        })
    }

    /// The pause between two looks at the watched files.
    pub fn reload_every(&self) -> Duration {
        Duration::from_secs(self.reload_interval)
    }

    /// The number of worker threads.
    pub fn worker_count(&self) -> usize {
        self.workers.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}
