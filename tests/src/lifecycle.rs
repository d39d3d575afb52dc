//! Up and down: in which order the parts start, when each is ready, and how everything ends.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{Api, Client};

use crate::apiserver::ApiServer;
use crate::cluster::client_of;
use crate::etcd::{Etcd, free_port};
use crate::pki::Authority;
use crate::progress::Progress;
use crate::state::{Flavour, Info, State};
use crate::wait::{Look, wait_until};
use crate::{containerd, controllers, database, kubelet, network, node, parts, process, registry, users};

const READY_LIMIT: Duration = Duration::from_mins(1);
const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const NODE: [&str; 4] = ["registry", "containerd", "kubelet", "kube-proxy"];

/// Starts what the flavour names, unless it already runs. Clears first what a killed run left.
pub async fn up(state: &State, flavour: Flavour) -> Result<Info> {
    let _lock = state.lock("lock")?;
    if let Some(info) = running(state) {
        if flavour == Flavour::Full && info.flavour != Flavour::Full {
            bail!(
                "a control plane without a node runs in {}; stop it first: testbed down",
                state.dir().display()
            );
        }
        return Ok(info);
    }
    clear(state)?;
    let start = Start { state, flavour, progress: Progress::start() };
    let started = start.all().await;
    if started.is_err() {
        clear(state)?;
    }
    let info = started?;
    state.set_info(&info)?;
    Ok(info)
}

/// Stops everything and removes what it left; nothing to stop is fine.
pub fn down(state: &State) -> Result<()> {
    let _lock = state.lock("lock")?;
    clear(state)?;
    users::forget(state)
}

/// What runs, if all of it still lives.
pub fn running(state: &State) -> Option<Info> {
    let info = state.info()?;
    let node: &[&str] = if info.flavour == Flavour::Full { &NODE } else { &[] };
    CONTROL_PLANE.iter().chain(node).all(|name| process::pid(state, name).is_some()).then_some(info)
}

/// Whether all of it lives; waits for a start or an end that is under way.
pub fn is_running(state: &State) -> Result<bool> {
    let _lock = state.lock("lock")?;
    Ok(running(state).is_some())
}

/// Stops everything if nobody uses it; who comes meanwhile waits, and then finds nothing running.
pub fn down_if_unused(state: &State) -> Result<bool> {
    let _lock = state.lock("lock")?;
    let unused = !users::any(state);
    if unused {
        clear(state)?;
    }
    Ok(unused)
}

fn clear(state: &State) -> Result<()> {
    database::clear(state)?;
    process::stop_all(state)?;
    node::clear(state)?;
    for entry in fs::read_dir(state.dir())? {
        let path = entry?.path();
        match path.file_name().and_then(|name| name.to_str()) {
            // The locks are held, the logs are what one reads after a failure, and who uses it is noted before it starts.
            Some("lock" | "exclusive" | "log" | "users") => {}
            _ if path.is_dir() => fs::remove_dir_all(&path)?,
            _ => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

/// One start, from nothing to ready.
struct Start<'a> {
    state: &'a State,
    flavour: Flavour,
    progress: Progress,
}

impl Start<'_> {
    async fn all(&self) -> Result<Info> {
        let (etcd, kubernetes) = (parts::etcd()?, parts::kubernetes()?);
        let authority = Authority::create(self.state)?;
        if self.flavour == Flavour::ControlPlane {
            let server = ApiServer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: free_port()? };
            self.control_plane(&authority, server, &etcd, &kubernetes).await?;
            return Ok(Info { flavour: self.flavour, server: server.url(), registry: None });
        }
        // Built now, because a build between two starts would use up the limits of what waits meanwhile.
        parts::pause()?;
        parts::containerd()?;
        node::prepare(self.state)?;
        self.progress.step("network namespace made");
        let server = ApiServer { address: network::HOST, port: 6443 };
        let (runtime, control_plane) =
            futures::join!(self.runtime(), self.control_plane(&authority, server, &etcd, &kubernetes));
        runtime?;
        let client = control_plane?;
        node::start(self.state, &authority, &kubernetes, &server.url())?;
        self.wait("kubelet", "the node to be ready", async || node_ready(&client).await).await?;
        process::check(self.state, "kube-proxy")?;
        self.progress.step("node ready");
        Ok(Info { flavour: self.flavour, server: server.url(), registry: Some(registry::address()) })
    }

    async fn control_plane(
        &self,
        authority: &Authority<'_>,
        server: ApiServer,
        etcd: &Path,
        kubernetes: &Path,
    ) -> Result<Client> {
        let etcd = Etcd::start(self.state, etcd)?;
        self.wait("etcd", "etcd", async || etcd.ready()).await?;
        self.progress.step("etcd ready");
        server.start(self.state, authority, kubernetes, &etcd.url())?;
        let client = client_of(&self.state.kubeconfig()).await?;
        self.wait("kube-apiserver", "kube-apiserver", async || ready(&client).await).await?;
        self.progress.step("kube-apiserver ready");
        controllers::start(self.state, authority, kubernetes, &server.url())?;
        let account = async || has_account(&client).await;
        self.wait("kube-controller-manager", "the default service account", account).await?;
        process::check(self.state, "kube-scheduler")?;
        self.progress.step("kube-controller-manager and kube-scheduler work");
        Ok(client)
    }

    async fn runtime(&self) -> Result<()> {
        self.wait("registry", "the registry", async || registry::ready()).await?;
        node::start_runtime(self.state)?;
        self.wait("containerd", "containerd", async || containerd::ready(self.state)).await?;
        self.progress.step("registry and containerd ready");
        Ok(())
    }

    /// Waits until `look` says yes, and fails at once, with its log, when the part dies.
    async fn wait(&self, part: &str, what: &str, look: impl AsyncFn() -> bool) -> Result<()> {
        wait_until(READY_LIMIT, what, async || {
            if let Err(error) = process::check(self.state, part) {
                return Look::Done(Err(error));
            }
            if look().await { Look::Done(Ok(())) } else { Look::NotYet("not ready") }
        })
        .await?
    }
}

async fn node_ready(client: &Client) -> bool {
    let node = Api::<Node>::all(client.clone()).get(kubelet::NODE_NAME).await;
    let conditions = node.ok().and_then(|node| node.status).and_then(|status| status.conditions);
    conditions.unwrap_or_default().iter().any(|found| found.type_ == "Ready" && found.status == "True")
}

async fn ready(client: &Client) -> bool {
    match http::Request::get("/readyz").body(Vec::new()) {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}

async fn has_account(client: &Client) -> bool {
    Api::<ServiceAccount>::namespaced(client.clone(), "default").get("default").await.is_ok()
}
