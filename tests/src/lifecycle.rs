//! Up and down: in which order the parts start, when each is ready, and how everything ends.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use crate::apiserver::ApiServer;
use crate::cluster::client_of;
use crate::etcd::{Etcd, free_port};
use crate::pki::Authority;
use crate::progress::Progress;
use crate::state::{Flavour, Info, State};
use crate::wait::{Look, wait_until};
use crate::{controllers, parts, process, users};

const READY_LIMIT: Duration = Duration::from_mins(1);

/// Starts what the flavour names, unless it already runs. Clears first what a killed run left.
pub async fn up(state: &State, flavour: Flavour) -> Result<Info> {
    let _lock = state.lock("lock")?;
    if let Some(info) = running(state) {
        if flavour == Flavour::Full && info.flavour != Flavour::Full {
            bail!(
                "a control plane without a node runs in {}; stop it first with 'testbed down'",
                state.dir().display()
            );
        }
        return Ok(info);
    }
    clear(state)?;
    let progress = Progress::start();
    let started = control_plane(state, IpAddr::V4(Ipv4Addr::LOCALHOST), &progress).await;
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
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
        .iter()
        .all(|name| process::pid(state, name).is_some())
        .then_some(info)
}

fn clear(state: &State) -> Result<()> {
    process::stop_all(state)?;
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

async fn control_plane(state: &State, address: IpAddr, progress: &Progress) -> Result<Info> {
    let (etcd_bin, bin) = (parts::etcd()?, parts::kubernetes()?);
    let authority = Authority::create(state)?;
    let etcd = Etcd::start(state, &etcd_bin)?;
    let port = if address.is_loopback() { free_port()? } else { 6443 };
    let server = ApiServer { address, port };
    wait(state, "etcd", "etcd", async || etcd.ready()).await?;
    progress.step("etcd ready");
    server.start(state, &authority, &bin, &etcd.url())?;
    let client = client_of(&state.kubeconfig()).await?;
    wait(state, "kube-apiserver", "kube-apiserver to be ready", async || ready(&client).await).await?;
    progress.step("kube-apiserver ready");
    controllers::start(state, &authority, &bin, &server.url())?;
    wait(state, "kube-controller-manager", "the default service account", async || {
        has_account(&client).await
    })
    .await?;
    process::check(state, "kube-scheduler")?;
    progress.step("kube-controller-manager and kube-scheduler work");
    Ok(Info { flavour: Flavour::ControlPlane, server: server.url(), registry: None })
}

/// Waits until `look` says yes, and fails at once, with its log, when the part dies.
async fn wait(state: &State, part: &str, what: &str, look: impl AsyncFn() -> bool) -> Result<()> {
    wait_until(READY_LIMIT, what, async || {
        if let Err(error) = process::check(state, part) {
            return Look::Done(Err(error));
        }
        if look().await { Look::Done(Ok(())) } else { Look::NotYet("not ready") }
    })
    .await?
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
