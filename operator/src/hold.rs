//! The finalizer of a service that may have a certificate of a Vault: put on before Vault is first asked, so that no crash
//! loses what Vault gave, and taken off alone. Nothing else of the service is ever written.

use crds::{HardenedService, VAULT_FINALIZER};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use render::Problem;
use serde_json::{Value, json};

use crate::{Context, cache::Key, error::Error, issuer::Issuer, key_of, refusal::Refusal};

const PATH: &str = "/metadata/finalizers";

/// What became of the finalizer.
pub enum Hold {
    /// It is as it should be, or the operator may not change it.
    AsItWas,
    /// It was written, and this is the service since then.
    Changed(Box<HardenedService>),
    /// Somebody else wrote the service meanwhile.
    Raced,
}

/// Whether this service carries it.
pub fn is_held(service: &impl Resource) -> bool {
    service.finalizers().iter().any(|finalizer| finalizer == VAULT_FINALIZER)
}

/// Puts it on if the spec's issuer is a Vault that may be asked, and takes it off if the issuer is none. In between, for
/// example when the platform does not allow the role any more, it stays as it is.
pub async fn settle(ctx: &Context, service: &HardenedService) -> Result<Hold, Error> {
    let patch = match (Issuer::of(service).is_asked_at(&ctx.vaults), is_held(service)) {
        (Some(true), false) => put_on(service),
        (Some(false), true) => take_off(service),
        _ => return Ok(Hold::AsItWas),
    };
    let api: Api<HardenedService> = Api::namespaced(ctx.client.clone(), &key_of(service).namespace);
    match api.patch(&service.name_any(), &PatchParams::default(), &typed(patch)?).await {
        Ok(written) => {
            ctx.services.answered(written.clone());
            Ok(Hold::Changed(Box::new(written)))
        }
        Err(kube::Error::Api(status)) if is_race(status.code) => Ok(Hold::Raced),
        Err(error) => match Refusal::of_error(&error) {
            Some(refusal) => {
                tracing::warn!(%refusal, "the finalizer is not written");
                Ok(Hold::AsItWas)
            }
            None => Err(error.into()),
        },
    }
}

/// What is missing while Vault cannot be asked for want of the finalizer.
pub fn missing(key: &Key) -> Problem {
    let namespace = Some(key.namespace.clone());
    let resource = "hardenedservices.hardened.dev".to_owned();
    Refusal { verb: "patch".into(), resource, namespace }.problem()
}

/// Takes it off a service that is being deleted; whether that is done, or somebody else wrote the service meanwhile.
pub async fn release(ctx: &Context, service: &impl Resource) -> Result<bool, kube::Error> {
    let namespace = service.namespace().unwrap_or_default();
    let api: Api<HardenedService> = Api::namespaced(ctx.client.clone(), &namespace);
    let patch = typed(take_off(service))?;
    // Of the answer only metadata, since the rest may be unreadable.
    match api.patch_metadata(&service.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(true),
        Err(kube::Error::Api(status)) if is_race(status.code) => Ok(false),
        Err(error) => Err(error),
    }
}

/// With the version: what was decided from an older object is refused.
fn put_on(service: &impl Resource) -> Value {
    let add = match service.finalizers() {
        [] => json!({"op": "add", "path": PATH, "value": [VAULT_FINALIZER]}),
        _ => json!({"op": "add", "path": format!("{PATH}/-"), "value": VAULT_FINALIZER}),
    };
    json!([{"op": "test", "path": "/metadata/resourceVersion", "value": service.resource_version()}, add])
}

/// With the uid and the place instead: a watch that is refused shows no newer version, and the service must go all the
/// same.
fn take_off(service: &impl Resource) -> Value {
    let place = service.finalizers().iter().position(|finalizer| finalizer == VAULT_FINALIZER);
    let path = format!("{PATH}/{}", place.unwrap_or_default());
    json!([
        {"op": "test", "path": "/metadata/uid", "value": service.uid()},
        {"op": "test", "path": path, "value": VAULT_FINALIZER},
        {"op": "remove", "path": path},
    ])
}

fn typed(operations: Value) -> Result<Patch<()>, kube::Error> {
    serde_json::from_value(operations).map(Patch::Json).map_err(kube::Error::SerdeError)
}

/// A test of the patch that fails is answered 422.
fn is_race(code: u16) -> bool {
    matches!(code, 409 | 422)
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;

    use super::*;
    use crate::watch::Guarded;

    /// As the watch brings one whose spec nobody can read.
    fn service(finalizers: &Value) -> Guarded {
        let metadata = json!({"name": "shop", "uid": "a", "resourceVersion": "7", "finalizers": finalizers});
        let service: Guarded = serde_json::from_value(json!({"metadata": metadata, "spec": 3})).unwrap();
        assert!(matches!(service, DeserializeGuard(Err(_))));
        service
    }

    #[test]
    fn of_a_service_that_cannot_be_read_the_finalizer_is_known_and_taken_off_alone() {
        let other = service(&json!(["example.com/backup"]));
        let both = service(&json!(["example.com/backup", VAULT_FINALIZER]));
        assert!(!is_held(&other) && is_held(&both));
        let operations = take_off(&both);
        assert_eq!(operations[0], json!({"op": "test", "path": "/metadata/uid", "value": "a"}));
        assert_eq!(operations[1]["path"], "/metadata/finalizers/1");
        assert_eq!(operations[2], json!({"op": "remove", "path": "/metadata/finalizers/1"}));
        assert!(typed(operations).is_ok());
    }

    #[test]
    fn it_is_put_on_beside_the_finalizers_of_others_and_on_this_version_only() {
        for (before, path, value) in [
            (json!([]), "/metadata/finalizers", json!([VAULT_FINALIZER])),
            (json!(["example.com/backup"]), "/metadata/finalizers/-", json!(VAULT_FINALIZER)),
        ] {
            let operations = put_on(&service(&before));
            assert_eq!(
                operations[0],
                json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"})
            );
            assert_eq!(operations[1], json!({"op": "add", "path": path, "value": value}));
            assert!(typed(operations).is_ok());
        }
    }
}
