//! Where secrets come from: flags, each with an environment variable. None holds a secret, because arguments can be
//! seen by everybody on the machine.

use std::{env, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{NAMES, groups::GroupName};

/// A kind of backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    /// Variables of the process.
    Environment,
    /// A directory with one file per name, and `NAME_FILE` variables.
    Files,
    /// A KV path of Vault or OpenBao.
    Vault,
    /// One secret of AWS Secrets Manager.
    Aws,
    /// Azure Key Vault.
    Azure,
}

/// Settings of the secrets.
#[derive(Clone, Debug, Args)]
pub struct SecretsConfig {
    /// Backends in the order in which they are asked; the first that has a name wins [default: environment, with files
    /// before it when `SECRETS_DIR` or a `NAME_FILE` variable is set]
    #[arg(long, env = "SECRET_BACKENDS", value_enum, value_delimiter = ',', value_name = "LIST")]
    pub secret_backends: Vec<BackendKind>,
    /// Groups whose secrets must be there at the start
    #[arg(long, env = "REQUIRED_GROUPS", value_enum, value_delimiter = ',', value_name = "LIST")]
    pub required_groups: Vec<GroupName>,
    /// Directory with one file per secret, named like it
    #[arg(long, env = "SECRETS_DIR", value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Seconds between two reads of Vault, AWS and Azure, give or take a tenth; files are looked at with `RELOAD_INTERVAL`
    #[arg(long, env = "SECRETS_REFRESH", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub secrets_refresh: u64,
    /// Vault.
    #[command(flatten)]
    pub vault: VaultConfig,
    /// AWS Secrets Manager.
    #[command(flatten)]
    pub aws: AwsConfig,
    /// Azure Key Vault.
    #[command(flatten)]
    pub azure: AzureConfig,
}

/// How to log in to Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VaultAuth {
    /// By a token from `VAULT_TOKEN_FILE` or `VAULT_TOKEN`.
    Token,
    /// By `VAULT_ROLE_ID` and a secret id from `VAULT_SECRET_ID_FILE` or `VAULT_SECRET_ID`.
    Approle,
    /// By the token of the pod's service account.
    Kubernetes,
}

/// Settings of the Vault backend.
#[derive(Clone, Debug, Args)]
pub struct VaultConfig {
    /// Address of Vault
    #[arg(long, env = "VAULT_ADDR", value_name = "URL")]
    pub vault_addr: Option<String>,
    /// Namespace of Vault Enterprise or OpenBao
    #[arg(long, env = "VAULT_NAMESPACE", value_name = "NAME")]
    pub vault_namespace: Option<String>,
    /// PEM file with the certificates that Vault's is checked against, instead of the public ones
    #[arg(long, env = "VAULT_CACERT", value_name = "FILE")]
    pub vault_cacert: Option<PathBuf>,
    /// Mount of the KV engine, version 1 or 2
    #[arg(long, env = "VAULT_MOUNT", value_name = "MOUNT", default_value = "secret")]
    pub vault_mount: String,
    /// Path below the mount; it holds one map of names and values
    #[arg(long, env = "VAULT_PATH", value_name = "PATH")]
    pub vault_path: Option<String>,
    /// How to log in to Vault
    #[arg(long, env = "VAULT_AUTH", value_enum, default_value = "token")]
    pub vault_auth: VaultAuth,
    /// Mount of the login method [default: approle or kubernetes]
    #[arg(long, env = "VAULT_AUTH_MOUNT", value_name = "MOUNT")]
    pub vault_auth_mount: Option<String>,
    /// File with a Vault token; it is looked at with each read
    #[arg(long, env = "VAULT_TOKEN_FILE", value_name = "FILE")]
    pub vault_token_file: Option<PathBuf>,
    /// Role id of the AppRole; not a secret
    #[arg(long, env = "VAULT_ROLE_ID", value_name = "ID")]
    pub vault_role_id: Option<String>,
    /// File with the AppRole's secret id
    #[arg(long, env = "VAULT_SECRET_ID_FILE", value_name = "FILE")]
    pub vault_secret_id_file: Option<PathBuf>,
    /// Role of the Kubernetes login
    #[arg(long, env = "VAULT_ROLE", value_name = "NAME")]
    pub vault_role: Option<String>,
    /// File with the service account's token
    #[arg(
        long,
        env = "VAULT_JWT_FILE",
        value_name = "FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )]
    pub vault_jwt_file: PathBuf,
}

/// Settings of the AWS backend. Region, credentials and endpoint come from the SDK's own variables.
#[derive(Clone, Debug, Args)]
pub struct AwsConfig {
    /// Name or ARN of the secret that holds a JSON map of names and values
    #[arg(long, env = "AWS_SECRET_ID", value_name = "ID")]
    pub aws_secret_id: Option<String>,
    /// PEM file with the certificates that AWS' are checked against, instead of the public ones
    #[arg(long, env = "AWS_CA_BUNDLE", value_name = "FILE")]
    pub aws_ca_bundle: Option<PathBuf>,
}

/// How to log in to Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AzureAuth {
    /// By the token of the pod's service account (`AZURE_FEDERATED_TOKEN_FILE`).
    WorkloadIdentity,
    /// By the machine's identity.
    ManagedIdentity,
    /// By a secret from `AZURE_CLIENT_SECRET_FILE` or `AZURE_CLIENT_SECRET`.
    ClientSecret,
}

/// Settings of the Azure backend.
#[derive(Clone, Debug, Args)]
pub struct AzureConfig {
    /// Address of the key vault
    #[arg(long, env = "AZURE_VAULT_URL", value_name = "URL")]
    pub azure_vault_url: Option<String>,
    /// How to log in to Azure
    #[arg(long, env = "AZURE_AUTH", value_enum, default_value = "workload-identity")]
    pub azure_auth: AzureAuth,
    /// Tenant of the login
    #[arg(long, env = "AZURE_TENANT_ID", value_name = "ID")]
    pub azure_tenant_id: Option<String>,
    /// Client of the login
    #[arg(long, env = "AZURE_CLIENT_ID", value_name = "ID")]
    pub azure_client_id: Option<String>,
    /// File with the client's secret
    #[arg(long, env = "AZURE_CLIENT_SECRET_FILE", value_name = "FILE")]
    pub azure_client_secret_file: Option<PathBuf>,
    /// File with the service account's token for Azure
    #[arg(long, env = "AZURE_FEDERATED_TOKEN_FILE", value_name = "FILE")]
    pub azure_federated_token_file: Option<PathBuf>,
    /// PEM file with the certificates that Azure's are checked against, instead of the public ones
    #[arg(long, env = "AZURE_CA_FILE", value_name = "FILE")]
    pub azure_ca_file: Option<PathBuf>,
}

impl SecretsConfig {
    /// The chain. Without a setting a mounted file comes before a variable: it is what can rotate.
    pub fn backends(&self) -> Vec<BackendKind> {
        let files =
            self.secrets_dir.is_some() || NAMES.iter().any(|n| env::var_os(file_variable(n)).is_some());
        match (self.secret_backends.as_slice(), files) {
            ([], true) => vec![BackendKind::Files, BackendKind::Environment],
            ([], false) => vec![BackendKind::Environment],
            (given, _) => given.to_vec(),
        }
    }

    /// The pause between two reads over the network, without its jitter.
    pub fn refresh_every(&self) -> Duration {
        Duration::from_secs(self.secrets_refresh)
    }
}

/// The variable that names a file with the secret, as Docker's images do it.
pub(super) fn file_variable(name: &str) -> String {
    format!("{name}_FILE")
}
