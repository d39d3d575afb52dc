//! What a test holds of the cluster: a client, a fresh onboarded namespace, the audit log. It knows nothing of the
//! node.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::audit::Audit;
use crate::pki::OPERATOR_USER;
use crate::private::PrivateTestbed;
use crate::progress::not_checked;
use crate::state::State;
use crate::store::Store;
use crate::wait::{Look, wait_until};
use crate::{install, lifecycle, users};

/// Namespace that the operator is installed into.
pub const OPERATOR_NAMESPACE: &str = "hardened-system";
/// ClusterRole that onboarding binds in a namespace.
pub const NAMESPACE_ROLE: &str = "hardened-operator-namespace";
/// ClusterRole that the operator has everywhere.
pub const CLUSTER_ROLE: &str = "hardened-operator-cluster";
const RIGHTS_LIMIT: Duration = Duration::from_secs(30);
static NAMES: AtomicU64 = AtomicU64::new(0);

/// A cluster to test against.
#[derive(Clone)]
pub struct Cluster {
    /// The administrator's client.
    pub client: Client,
    config: Config,
    state: State,
    existing: bool,
    /// A test's own testbed: what is installed there is the test's business.
    private: bool,
}

/// A namespace of one test; it is deleted when this is dropped.
pub struct Namespace {
    /// Its name.
    pub name: String,
    config: Config,
}

impl Cluster {
    /// Attaches to the running testbed, or starts a control plane that ends with this run of the tests. With
    /// `TESTBED=existing` it is the cluster of `KUBECONFIG`.
    pub async fn get() -> Result<Self> {
        let state = State::open()?;
        let existing = std::env::var("TESTBED").is_ok_and(|value| value == "existing");
        let config = if existing {
            Config::from_kubeconfig(&KubeConfigOptions::default()).await.context("read KUBECONFIG")?
        } else {
            attach(&state).await?;
            config_of(&state.kubeconfig()).await?
        };
        Ok(Self { client: client_with(config.clone())?, config, state, existing, private: false })
    }

    /// A testbed of the test's own, which must run. Nothing is installed in it but what the test installs.
    pub async fn of(testbed: &PrivateTestbed) -> Result<Self> {
        let state = testbed.state.clone();
        let config = config_of(&state.kubeconfig()).await?;
        Ok(Self { client: client_with(config.clone())?, config, state, existing: false, private: true })
    }

    /// The audit log; an existing cluster has none that a test may read, and this says so.
    pub fn audit(&self) -> Option<Audit> {
        if self.existing {
            not_checked("the existing cluster has no audit log to count requests in");
            return None;
        }
        Some(Audit::new(self.client.clone(), self.state.path("audit.log")))
    }

    /// What etcd itself holds; that of an existing cluster is out of a test's reach, and this says so.
    pub fn store(&self) -> Result<Option<Store>> {
        if self.existing {
            not_checked("the existing cluster's etcd cannot be read");
            return Ok(None);
        }
        Store::of(&self.state).map(Some)
    }

    /// The state folder.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The administrator's kubeconfig, for commands; an existing cluster's is in `KUBECONFIG` already.
    pub fn kubeconfig(&self) -> Option<PathBuf> {
        (!self.existing).then(|| self.state.kubeconfig())
    }

    /// Address and certificates (PEM) of the apiserver, for programs that need no kubeconfig.
    pub fn server(&self) -> Result<(String, String)> {
        let certificates = self.config.root_cert.iter().flatten();
        let certificates = certificates.map(|der| pem(der)).collect::<Result<String>>()?;
        Ok((self.config.cluster_url.to_string().trim_end_matches('/').to_owned(), certificates))
    }

    /// Whether this is the cluster of `KUBECONFIG`.
    pub fn is_existing(&self) -> bool {
        self.existing
    }

    /// Installs the custom resources and the operator's rights from the chart, once per process.
    pub async fn install(&self) -> Result<()> {
        static DONE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        if self.private {
            return Ok(());
        }
        let cluster = self.clone();
        DONE.get_or_try_init(|| async {
            tokio::task::spawn_blocking(move || install::install(&cluster)).await.context("install")?
        })
        .await
        .copied()
    }

    /// The kubeconfig of the operator's user; in an existing cluster the administrator impersonates it.
    pub fn operator_kubeconfig(&self) -> Result<PathBuf> {
        if !self.existing {
            return Ok(self.state.path("operator.kubeconfig"));
        }
        let mut file = Kubeconfig::read()?;
        for user in &mut file.auth_infos {
            user.auth_info.get_or_insert_default().impersonate = Some(OPERATOR_USER.into());
        }
        self.state.write("operator.kubeconfig", serde_json::to_vec(&file)?)
    }

    /// A client of somebody else, impersonated by the administrator.
    pub fn client_as(&self, user: &str) -> Result<Client> {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(user.into());
        client_with(config)
    }

    /// A client of the operator's user that passes every answer on as it comes, without trying again.
    pub async fn operator_client(&self) -> Result<Client> {
        let mut config = config_of(&self.operator_kubeconfig()?).await?;
        config.default_retry = false;
        client_with(config)
    }

    /// A client of the administrator that does the same: a refusal by 429, for example, is an answer.
    pub fn client_without_retry(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.default_retry = false;
        client_with(config)
    }

    /// A fresh namespace, onboarded for hosts below `example.com`.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace> {
        self.onboarded(prefix, "*.example.com").await
    }

    /// A fresh namespace, onboarded for these hosts.
    pub async fn onboarded(&self, prefix: &str, hosts: &str) -> Result<Namespace> {
        let namespace = self.foreign_namespace(prefix).await?;
        self.bind(&namespace).await?;
        self.annotate(&namespace, hosts).await?;
        Ok(namespace)
    }

    /// The first half of onboarding: the operator's rights. With the annotation it begins, so they come before it.
    pub async fn bind(&self, namespace: &Namespace) -> Result<()> {
        // The binding names a role of the chart.
        self.install().await?;
        let bindings = Api::<RoleBinding>::namespaced(self.client.clone(), &namespace.name);
        bindings.create(&PostParams::default(), &serde_json::from_value(binding())?).await?;
        self.wait_for_rights(&namespace.name).await
    }

    /// The authorizer learns of a new binding by a watch of its own: until then the operator would be refused.
    async fn wait_for_rights(&self, namespace: &str) -> Result<()> {
        let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
            "user": OPERATOR_USER,
            "resourceAttributes": {"namespace": namespace, "verb": "list", "resource": "secrets"},
        }}))?;
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        wait_until(RIGHTS_LIMIT, "the operator's rights in a new namespace", async || {
            match reviews.create(&PostParams::default(), &review).await {
                Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => Look::Done(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
    }

    /// The second half: the hosts that services there may use.
    pub async fn annotate(&self, namespace: &Namespace, hosts: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {"hardened.dev/allowed-hosts": hosts}}});
        let namespaces = Api::<KubeNamespace>::all(self.client.clone());
        namespaces.patch(&namespace.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// A fresh namespace that the platform has not onboarded.
    pub async fn foreign_namespace(&self, prefix: &str) -> Result<Namespace> {
        let name = unique(prefix);
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let object = json!({"metadata": {"name": name, "labels": labels}});
        let api = Api::<KubeNamespace>::all(self.client.clone());
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(Namespace { name, config: self.config.clone() })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let (name, config) = (self.name.clone(), self.config.clone());
        // A runtime of its own: the test's may be gone or busy, and a drop cannot wait on it.
        let done = std::thread::spawn(move || delete_namespace(&name, config)).join();
        if !matches!(done, Ok(Ok(()))) {
            eprintln!("namespace {} was not deleted: {done:?}", self.name);
        }
    }
}

/// A client with the credentials of a kubeconfig file.
pub async fn client_of(kubeconfig: &Path) -> Result<Client> {
    client_with(config_of(kubeconfig).await?)
}

/// The settings of a kubeconfig file.
pub async fn config_of(kubeconfig: &Path) -> Result<Config> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)
}

/// The prefix with an end that no other test of this machine uses.
pub fn unique(prefix: &str) -> String {
    let count = NAMES.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{:x}-{count}", std::process::id())
}

fn client_with(config: Config) -> Result<Client> {
    // Several crates may have done it already; only one provider is compiled in, so the answer does not matter.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok(Client::try_from(config)?)
}

/// A certificate on one line: what reads PEM takes that too.
fn pem(der: &[u8]) -> Result<String> {
    let base64 = serde_json::to_value(ByteString(der.to_vec()))?;
    let base64 = base64.as_str().context("a certificate is no text")?;
    Ok(format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n"))
}

fn binding() -> Value {
    json!({
        "metadata": {"name": "hardened-operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAMESPACE_ROLE},
        "subjects": [
            {"kind": "ServiceAccount", "name": "hardened-operator", "namespace": OPERATOR_NAMESPACE},
            {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": OPERATOR_USER},
        ],
    })
}

fn delete_namespace(name: &str, config: Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let api = Api::<KubeNamespace>::all(client_with(config)?);
        match api.delete(name, &DeleteParams::background()).await {
            // The test deleted it itself.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => Ok(other.map(drop)?),
        }
    })
}

/// Notes this run of the tests as a user of the testbed and starts a control plane when none runs.
async fn attach(state: &State) -> Result<()> {
    users::enter(state)?;
    if lifecycle::is_running(state)? {
        return Ok(());
    }
    let program = users::program()?;
    let status = tokio::process::Command::new(program)
        .args(["up", "--control-plane", "--while-used"])
        .status()
        .await
        .context("start the testbed")?;
    ensure!(status.success(), "the testbed did not start ({status})");
    Ok(())
}
