//! `kubectl hardened keys`: the operator's own keys, its CA and the key of its hashes: how they are, another CA, backup
//! and restore. A private key goes into the backup file and nowhere else.

mod backup;
mod restore;
mod rotate;
mod status;

use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use crate::cluster::{client, plain};

/// Look after the operator's own keys: the CA of the services' certificates, and the key of its hashes.
///
/// Needs rights on Secrets in the operator's namespace, which platform administrators have.
///
/// Exit codes: 0 done, 1 not done, 2 the arguments are wrong.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    Status(status::Arguments),
    Rotate(rotate::Arguments),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
}

/// Which cluster, and where in it.
#[derive(clap::Args)]
struct Place {
    /// Namespace that the operator runs in.
    #[arg(long, value_name = "NS", default_value = "hardened-system")]
    operator_namespace: String,
    /// Context of the kubeconfig. Default: the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// The objects that hold keys.
struct Keys {
    client: Client,
    secrets: Api<Secret>,
    ids: Api<ConfigMap>,
    namespace: String,
}

impl Place {
    async fn keys(&self) -> Result<Keys> {
        let (client, _) = client(self.context.as_deref()).await?;
        let namespace = &self.operator_namespace;
        Ok(Keys {
            secrets: Api::namespaced(client.clone(), namespace),
            ids: Api::namespaced(client.clone(), namespace),
            namespace: namespace.clone(),
            client,
        })
    }
}

impl Keys {
    async fn secret(&self, name: &str) -> Result<Secret> {
        self.secrets.get_opt(name).await.map_err(plain)?.ok_or_else(|| {
            anyhow!(
                "the namespace {} has no Secret {name}; is the operator installed elsewhere (--operator-namespace), or \
                 is it lost (kubectl hardened keys restore)?",
                self.namespace
            )
        })
    }
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let runtime = tokio::runtime::Runtime::new()?;
    match &arguments.action {
        Action::Status(arguments) => runtime.block_on(status::run(arguments)),
        Action::Rotate(arguments) => runtime.block_on(rotate::run(arguments)),
        Action::Backup(arguments) => runtime.block_on(backup::run(arguments)),
        Action::Restore(arguments) => runtime.block_on(restore::run(arguments)),
    }
}
