//! The `api-server` command: reads flags, sets up logging, serves until a signal. Everything else is in the library.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use api_server::{config::Config, healthcheck, routes, secrets::Secrets, server};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// actix logs every broken request as an error; ours is one line in the access log.
const LOG_FILTER: &str = "info,actix_http=off,actix_server=warn";

const HELP: &str = "\
Examples:
  ENVIRONMENT=development API_BIND=127.0.0.1:8080 api-server
  api-server --tls-dir /run/tls --policy-file /etc/api-server/policy.json
  api-server healthcheck        with the same settings; exit code 0 when ready

Log level: RUST_LOG (default info), for example RUST_LOG=info,access=off.
SIGTERM and SIGINT: /readyz turns 503 and clients are told to close their connections; after DRAIN_DELAY no new
connection is taken, and requests in flight finish.";

/// A hardened HTTPS service: security headers on every answer, trusted hosts, JSON logs, reload without restart
#[derive(Parser)]
#[command(version, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Config,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the service that runs with these settings whether it is ready
    Healthcheck,
}

fn main() -> ExitCode {
    let provider = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Cli { command, config } = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    let result = match command {
        _ if provider.is_err() => Err(anyhow!("install the TLS provider: another one is in place")),
        Some(Command::Healthcheck) => healthcheck::run(&config).context("not ready"),
        None => serve(config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The main thread only waits and reloads; requests are served by the workers' own threads.
#[tokio::main(flavor = "current_thread")]
async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server::bind(config, Secrets::from_environment(), routes::api)?.run_until(stop).await.context("serve")
}
