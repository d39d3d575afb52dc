//! The watch of cert-manager's Certificates: only while the platform allows an issuer of cert-manager and some service
//! needs to know of them. Without cert-manager's definition it is tried again at most 30 s apart, which needs no further
//! right and tells at once when the definition goes.

use std::collections::BTreeSet;

use crds::HardenedService;
use render::Kind;
use tokio::sync::watch;

use super::{Feed, Scope, State, children};
use crate::{Context, cache::Key};

/// The services that need the watch.
#[derive(Default)]
pub struct Wanted(watch::Sender<BTreeSet<Key>>);

impl Wanted {
    /// Whether this service needs it.
    pub fn set(&self, key: &Key, wanted: bool) {
        self.0.send_if_modified(|keys| if wanted { keys.insert(key.clone()) } else { keys.remove(key) });
    }

    /// Those that a watch of this scope is for.
    pub fn within(&self, scope: &Scope) -> Vec<Key> {
        self.0.borrow().iter().filter(|key| scope.covers(&key.namespace)).cloned().collect()
    }

    /// Waits until there is one, or none.
    async fn until(&self, scope: &Scope, any: bool) {
        let reached = |keys: &BTreeSet<Key>| keys.iter().any(|key| scope.covers(&key.namespace)) == any;
        // The sender lives in self: the channel cannot close.
        let _ = self.0.subscribe().wait_for(reached).await;
    }
}

/// Whether a pass knows what there is of Certificates. Otherwise the watch, which this opens, brings the next one.
pub fn are_seen(ctx: &Context, service: &HardenedService, key: &Key) -> bool {
    let mut children = service.status.iter().flat_map(|status| &status.children);
    // One that is not wanted any more is still to be deleted.
    let wanted = render::cert_manager::allowed(service, &ctx.settings).is_some()
        || children.any(|child| child.kind == Kind::Certificate.as_str());
    let wanted = wanted && !ctx.settings.cert_manager.issuers.is_empty();
    // Before the look at the state, so that whoever changes it then finds the service.
    ctx.certificates.set(key, wanted);
    let state = ctx.watches.state(Kind::Certificate.as_str(), &key.namespace);
    !wanted || state.is_some_and(|state| state != State::Waiting)
}

/// Opens the watch when a service needs it, and closes it when none does.
pub async fn certificates(feed: Feed) {
    let (ctx, scope) = (&feed.ctx, &feed.scope);
    loop {
        ctx.certificates.until(scope, true).await;
        tokio::select! {
            () = children(&feed, Kind::Certificate) => {}
            () = ctx.certificates.until(scope, false) => {}
        }
        ctx.watches.end(scope);
        ctx.cache.replace(Kind::Certificate, scope.namespace.as_deref(), Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_watch_is_open_from_the_first_service_that_needs_it_to_the_last() {
        let key = |namespace: &str| Key { namespace: namespace.into(), name: "shop".into() };
        let scope = |namespace: Option<&str>| Scope {
            what: Kind::Certificate.as_str(),
            namespace: namespace.map(str::to_owned),
        };
        let wanted = Wanted::default();
        let reached = |scope: &Scope, any| wanted.until(scope, any).now_or_never().is_some();
        assert!(!reached(&scope(None), true));
        for namespace in ["a", "a", "b"] {
            wanted.set(&key(namespace), true);
        }
        assert!(reached(&scope(None), true) && reached(&scope(Some("b")), true));
        assert!(!reached(&scope(Some("c")), true), "another namespace's service");
        assert_eq!(wanted.within(&scope(Some("a"))), [key("a")]);
        wanted.set(&key("a"), false);
        assert!(reached(&scope(Some("a")), false) && !reached(&scope(None), false));
        wanted.set(&key("b"), false);
        assert!(reached(&scope(None), false));
    }
}
