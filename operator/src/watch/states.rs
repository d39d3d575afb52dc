//! How far each watch is: waiting for its list, listed, or refused. Shared by the watches, the passes and /readyz.

use std::collections::BTreeMap;

use render::Kind;
use tokio::sync::watch;

use crate::refusal::Refusal;

/// The custom resource.
pub const SERVICES: &str = "HardenedService";
/// Namespaces.
pub const NAMESPACES: &str = "Namespace";
/// Our definition of the custom resource.
pub const DEFINITION: &str = "CustomResourceDefinition";

/// One watch: of what, and in which namespace; `None` for all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Kind of the objects.
    pub what: &'static str,
    /// Namespace.
    pub namespace: Option<String>,
}

impl Scope {
    /// Whether objects of this namespace are watched.
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// How far a watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its list has not arrived yet.
    Waiting,
    /// Its list is complete.
    Listed,
    /// The API server refuses the list or the watch.
    Denied(Refusal),
    /// The API server does not have the kind.
    Absent,
}

/// Every watch but those of Secrets, which come and go with their namespaces. That of Certificates stands here as long
/// as some service needs it.
pub struct Watches {
    states: watch::Sender<BTreeMap<Scope, State>>,
    relists: watch::Sender<()>,
}

impl Watches {
    /// In all namespaces, or in the listed ones.
    pub fn new(namespaces: &[String], kinds: impl Iterator<Item = Kind>) -> Self {
        let kinds = kinds.filter(|k| *k != Kind::Secret).map(Kind::as_str);
        let whats: Vec<_> = kinds.chain([SERVICES, NAMESPACES]).collect();
        let mut states = BTreeMap::from([(Scope { what: DEFINITION, namespace: None }, State::Waiting)]);
        for namespace in places(namespaces) {
            states.extend(
                whats.iter().map(|what| (Scope { what, namespace: namespace.clone() }, State::Waiting)),
            );
        }
        Self { states: watch::Sender::new(states), relists: watch::Sender::new(()) }
    }

    /// Notes how far a watch is; gives what it was before, if that was something else. One that is new was waiting.
    pub fn set(&self, scope: &Scope, state: &State) -> Option<State> {
        let mut before = None;
        self.states.send_if_modified(|states| {
            let known = states.insert(scope.clone(), state.clone()).unwrap_or(State::Waiting);
            before = Some(known).filter(|before| before != state);
            before.is_some()
        });
        before
    }

    /// The watch has ended.
    pub fn end(&self, scope: &Scope) {
        self.states.send_modify(|states| {
            states.remove(scope);
        });
    }

    /// How far the watch of a kind in a namespace is; nothing when there is none.
    pub fn state(&self, what: &str, namespace: &str) -> Option<State> {
        let states = self.states.borrow();
        let mut states = states.iter();
        let found = states.find(|(scope, _)| scope.what == what && scope.covers(namespace));
        found.map(|(_, state)| state.clone())
    }

    /// The watches whose list is still missing.
    pub fn missing(&self) -> Vec<&'static str> {
        let states = self.states.borrow();
        let waiting = states.iter().filter(|(_, state)| **state == State::Waiting);
        let mut missing: Vec<_> = waiting.map(|(scope, _)| scope.what).collect();
        missing.dedup();
        missing
    }

    /// What the API server refuses.
    pub fn denied(&self) -> Vec<Refusal> {
        let states = self.states.borrow();
        states.values().filter_map(|state| refusal(state).cloned()).collect()
    }

    /// Whether services are seen anywhere.
    pub fn sees_services(&self) -> bool {
        let states = self.states.borrow();
        states.iter().any(|(scope, state)| scope.what == SERVICES && *state == State::Listed)
    }

    /// Why objects of a kind are not seen in a namespace.
    pub fn refusal(&self, what: &str, namespace: &str) -> Option<Refusal> {
        let states = self.states.borrow();
        let concerned = states.iter().filter(|(scope, _)| scope.what == what && scope.covers(namespace));
        concerned.map(|(_, state)| state).find_map(refusal).cloned()
    }

    /// Waits until every list has arrived or was refused.
    pub async fn done(&self) {
        let none_waits = |states: &BTreeMap<Scope, State>| !states.values().any(|s| *s == State::Waiting);
        // The sender lives in self: the channel cannot close.
        let _ = self.states.subscribe().wait_for(none_waits).await;
    }

    /// Has the services listed anew.
    pub fn relist_services(&self) {
        self.states.send_modify(|states| {
            for (_, state) in states.iter_mut().filter(|(scope, _)| scope.what == SERVICES) {
                *state = State::Waiting;
            }
        });
        self.relists.send_replace(());
    }

    /// Tells when the services are to be listed anew.
    pub fn relists(&self) -> watch::Receiver<()> {
        self.relists.subscribe()
    }
}

/// The listed namespaces, or the one place that is all of them.
pub fn places(namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}

fn refusal(state: &State) -> Option<&Refusal> {
    match state {
        State::Denied(refusal) => Some(refusal),
        State::Waiting | State::Listed | State::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn refusal() -> Refusal {
        Refusal { verb: "list".into(), resource: "services".into(), namespace: None }
    }

    fn set_all(watches: &Watches, state: &State) {
        let scopes: Vec<_> = watches.states.borrow().keys().cloned().collect();
        for scope in scopes {
            watches.set(&scope, state);
        }
    }

    #[test]
    fn what_is_refused_is_not_waited_for() {
        let watches = Watches::new(&[], Kind::BUILT_IN.into_iter());
        assert!(watches.done().now_or_never().is_none() && !watches.missing().is_empty());
        set_all(&watches, &State::Denied(refusal()));
        assert!(watches.done().now_or_never().is_some() && !watches.sees_services());
        assert_eq!(watches.missing(), Vec::<&str>::new());
    }

    #[test]
    fn a_refusal_concerns_the_namespaces_of_its_watch() {
        let listed = ["a", "b"].map(str::to_owned);
        let watches = Watches::new(&listed, Kind::BUILT_IN.into_iter());
        set_all(&watches, &State::Listed);
        let scope = Scope { what: SERVICES, namespace: Some("a".into()) };
        let denied = State::Denied(refusal());
        assert_eq!(watches.set(&scope, &denied), Some(State::Listed));
        assert_eq!(watches.set(&scope, &denied), None, "told twice");
        assert_eq!(watches.refusal(SERVICES, "a"), Some(refusal()));
        assert_eq!((watches.refusal(SERVICES, "b"), watches.refusal(NAMESPACES, "a")), (None, None));
        assert!(watches.sees_services(), "those of b are seen");
    }

    #[test]
    fn a_kind_that_the_server_does_not_have_is_neither_waited_for_nor_refused() {
        let watches = Watches::new(&[], Kind::BUILT_IN.into_iter());
        set_all(&watches, &State::Listed);
        let scope = Scope { what: Kind::Certificate.as_str(), namespace: None };
        assert_eq!(watches.state(scope.what, "a"), None);
        assert_eq!(watches.set(&scope, &State::Absent), Some(State::Waiting), "a new one was waiting");
        assert_eq!(watches.state(scope.what, "a"), Some(State::Absent));
        assert!(watches.denied().is_empty() && watches.missing().is_empty());
        watches.end(&scope);
        assert_eq!(watches.state(scope.what, "a"), None);
    }

    #[test]
    fn a_list_of_the_services_that_is_asked_for_anew_is_waited_for() {
        let watches = Watches::new(&[], Kind::BUILT_IN.into_iter());
        set_all(&watches, &State::Listed);
        let relists = watches.relists();
        watches.relist_services();
        assert!(relists.has_changed().is_ok_and(|changed| changed));
        assert_eq!(watches.missing(), [SERVICES]);
        assert!(watches.done().now_or_never().is_none());
    }
}
