//! `remove-finalizers`: takes this operator's finalizers off every HardenedService, so that none stays undeletable when
//! the operator is gone. It touches nothing else of them.

use anyhow::{Context as _, bail};
use crds::{GROUP, HardenedService};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, ListParams, PostParams},
    core::DynamicObject,
};

use crate::{RemoveFinalizers, run::client_config};

/// Times that one service is read again when somebody else wrote it meanwhile.
const TRIES: u32 = 5;

/// Removes them in the listed namespaces, or everywhere.
pub async fn remove(args: RemoveFinalizers) -> anyhow::Result<()> {
    let config = client_config(args.kubeconfig.as_deref()).await?;
    let client = Client::try_from(config).context("building the Kubernetes client")?;
    // Untyped, because a service that this version cannot read must go free too, and whole.
    let kind = ApiResource::erase::<HardenedService>(&());
    let apis: Vec<Api<DynamicObject>> = if args.namespaces.is_empty() {
        vec![Api::all_with(client.clone(), &kind)]
    } else {
        args.namespaces.iter().map(|n| Api::namespaced_with(client.clone(), n, &kind)).collect()
    };
    let mut count = 0;
    for api in apis {
        for (namespace, name) in held(&api).await? {
            let services = Api::namespaced_with(client.clone(), &namespace, &kind);
            if release(&services, &name).await.with_context(|| format!("{namespace}/{name}"))? {
                tracing::info!(namespace, name, "finalizers removed");
                count += 1;
            }
        }
    }
    tracing::info!(services = count, "done: no HardenedService has a finalizer of this operator");
    Ok(())
}

/// Namespaces and names of the services that carry one of ours.
async fn held(api: &Api<DynamicObject>) -> anyhow::Result<Vec<(String, String)>> {
    let list = match api.list_metadata(&ListParams::default()).await {
        Ok(list) => list,
        // The resource definition went first, and every service with it.
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error).context("listing HardenedServices"),
    };
    let held = list.items.into_iter().filter(|service| service.finalizers().iter().any(|f| is_ours(f)));
    Ok(held.map(|service| (service.namespace().unwrap_or_default(), service.name_any())).collect())
}

/// Whether there was something to remove; a PUT carries uid and version of what was read.
async fn release(services: &Api<DynamicObject>, name: &str) -> anyhow::Result<bool> {
    for _ in 0..TRIES {
        let Some(mut service) = services.get_opt(name).await? else { return Ok(false) };
        let before = service.finalizers().len();
        service.finalizers_mut().retain(|finalizer| !is_ours(finalizer));
        if service.finalizers().len() == before {
            return Ok(false);
        }
        match services.replace(name, &PostParams::default(), &service).await {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(false),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("somebody else wrote it {TRIES} times meanwhile")
}

fn is_ours(finalizer: &str) -> bool {
    finalizer.split_once('/').is_some_and(|(domain, _)| domain == GROUP)
}
