//! The `api-server` command: reads flags, sets up logging, serves until a signal. Everything else is in the library.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use api_server::{
    check,
    commands::{account, check_config, migrate, rotate_encryption_key},
    config::Config,
    healthcheck, log, routes,
    secrets::Secrets,
    server,
};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::util::SubscriberInitExt as _;

const HELP: &str = "\
Examples:
  ENVIRONMENT=development API_BIND=127.0.0.1:8080 api-server
  api-server --tls-dir /run/tls --policy-file /etc/api-server/policy.json
  api-server healthcheck        with the same settings; exit code 0 when ready
  api-server check-config       with the same settings; exit code 0 when the start would accept them

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
    /// Change the tables of `DATABASE_URL` to what this version needs, or back
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Make or disable accounts
    #[command(subcommand)]
    Account(account::Account),
    /// Encrypt anew what is not of `ENCRYPTION_KEY`; --help tells how to change the key
    RotateEncryptionKey(rotate_encryption_key::Rotate),
    /// List what is wrong with these settings and secrets: exit code 0 for nothing, 1 for problems, 2 when a backend
    /// was not reached
    CheckConfig(check_config::CheckConfig),
}

fn main() -> ExitCode {
    let provider = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Cli { command, config } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return settings_error(&error),
    };
    if let Some(Command::CheckConfig(command)) = &command {
        return check_config::run(command, &config).unwrap_or_else(|error| {
            eprintln!("check-config: {error}");
            ExitCode::from(check_config::UNKNOWN)
        });
    }
    log::subscriber(std::env::var("RUST_LOG").ok().as_deref(), std::io::stdout).init();
    let result = match command {
        _ if provider.is_err() => Err(anyhow!("install the TLS provider: another one is in place")),
        Some(Command::Healthcheck) => healthcheck::run(&config).context("not ready"),
        Some(Command::CheckConfig(_)) => Ok(()),
        Some(Command::Migrate(action)) => {
            once(&config, async |secrets| migrate::run(&action, &config, secrets).await)
        }
        Some(Command::Account(action)) => {
            once(&config, async |secrets| account::run(&action, &config, secrets).await)
        }
        Some(Command::RotateEncryptionKey(command)) => {
            once(&config, async |secrets| rotate_encryption_key::run(&command, &config, secrets).await)
        }
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

/// A command with the secrets that the service would have.
#[tokio::main(flavor = "current_thread")]
async fn once(
    config: &Config,
    command: impl AsyncFnOnce(&Secrets) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // What else is wrong with the configuration is the start's business.
    let (secrets, _) = Secrets::load(&config.secrets, config.environment).await;
    command(&secrets).await
}

/// As clap does it; but for `check-config` a setting that cannot be read is a problem like any other.
fn settings_error(error: &clap::Error) -> ExitCode {
    // Where even this cannot be written there is nobody to tell.
    let _ = error.print();
    let checking = std::env::args().any(|argument| argument == "check-config");
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if checking => ExitCode::from(check_config::PROBLEMS),
        _ => ExitCode::from(2),
    }
}

/// A container's soft limit is often 1,024 files, which the service's connections soon exceed; its hard limit is what
/// its owner allows.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// The main thread only waits and reloads; requests are served by the workers' own threads.
#[tokio::main(flavor = "current_thread")]
async fn serve(config: Config) -> anyhow::Result<()> {
    raise_open_files();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let secrets = check::at_start(&config).await.context("not started")?;
    server::bind(config, secrets, routes::api)?.run_until(stop).await.context("serve")
}
