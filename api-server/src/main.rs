//! The `api-server` command: reads flags, sets up logging, serves until a signal. Everything else is in the library.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use api_server::{
    commands::{account, migrate},
    config::Config,
    healthcheck, log, routes,
    secrets::Secrets,
    server,
};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

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
    /// Change the tables of DATABASE_URL to what this version needs, or back
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Make or disable accounts
    #[command(subcommand)]
    Account(account::Account),
}

fn main() -> ExitCode {
    let provider = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Cli { command, config } = Cli::parse();
    log::init(LOG_FILTER);
    let result = match command {
        _ if provider.is_err() => Err(anyhow!("install the TLS provider: another one is in place")),
        Some(Command::Healthcheck) => healthcheck::run(&config).context("not ready"),
        Some(Command::Migrate(action)) => once(migrate::run(&action, &config, &Secrets::from_environment())),
        Some(Command::Account(action)) => once(account::run(&action, &config, &Secrets::from_environment())),
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

#[tokio::main(flavor = "current_thread")]
async fn once(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    command.await
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
