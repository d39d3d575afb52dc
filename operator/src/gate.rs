//! What every request passes on its way to the API server: the fence for writes, and the pause that the server asked
//! for by `Retry-After` (RFC 9110 section 10.2.3).

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, header::RETRY_AFTER};
use hyper_util::rt::TokioExecutor;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use tower::{BoxError, ServiceBuilder, filter::FilterLayer, util::MapResponseLayer};

use crate::{
    fence::{Fence, Moment},
    fenced::Connector,
};

/// Longest pause that a server may ask for; with more it would switch the operator off.
const LONGEST: Duration = Duration::from_mins(1);

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The lease is lost, or could not be renewed in time.
    #[error("not the leader any more: nothing is written")]
    NotLeader,
    /// The API server asked for a pause, of which this much is left.
    #[error("the API server asked for a pause of {0:?}")]
    Throttled(Duration),
}

impl Closed {
    /// This, when it is why a request failed.
    pub fn of(error: &kube::Error) -> Option<Self> {
        match error {
            kube::Error::Service(error) => error.downcast_ref().copied(),
            _ => None,
        }
    }
}

/// A gate of one term.
#[derive(Debug)]
pub struct Gate {
    fence: Arc<Fence>,
    /// Holds requests back until the pause is over.
    pause: Fence,
}

impl Gate {
    /// A gate that lets writes pass while the fence holds.
    pub fn new(fence: Arc<Fence>) -> Arc<Self> {
        Arc::new(Self { fence, pause: Fence::default() })
    }

    /// A client whose requests pass this gate. It tries nothing again by itself: what fails ends the pass, and the
    /// queue decides when the next one begins.
    pub fn client(self: &Arc<Self>, config: &Config) -> kube::Result<Client> {
        let (before, after) = (self.clone(), self.clone());
        let check = move |request: Request<Body>| before.check(request).map_err(BoxError::from);
        let note = move |response: Response<_>| {
            after.note(response.status(), response.headers());
            response
        };
        let connector = config.rustls_https_connector_with_connector(Connector::new(self.fence.clone()))?;
        let service = ServiceBuilder::new()
            .layer(FilterLayer::new(check))
            .layer(MapResponseLayer::new(note))
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector));
        Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
    }

    fn check(&self, request: Request<Body>) -> Result<Request<Body>, Closed> {
        let now = Moment::now();
        if request.method() != Method::GET && !self.fence.holds(now) {
            return Err(Closed::NotLeader);
        }
        // Watches and their lists have a backoff of their own, and a pass that waits needs what they bring.
        let watches = request.uri().query().is_some_and(|q| q.contains("watch=") || q.contains("limit="));
        match self.pause(now) {
            Some(left) if !watches => Err(Closed::Throttled(left)),
            _ => Ok(request),
        }
    }

    fn pause(&self, now: Moment) -> Option<Duration> {
        let left = self.pause.until().since(now);
        (!left.is_zero()).then_some(left)
    }

    fn note(&self, status: StatusCode, headers: &HeaderMap) {
        if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return;
        }
        let Some(wait) = retry_after(headers) else { return };
        self.pause.extend(Moment::now().after(wait));
        tracing::warn!(?wait, %status, "the API server asks for a pause");
    }
}

/// Kubernetes sends seconds; the other form, a date, would compare two clocks.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, uri: &str) -> Request<Body> {
        Request::builder().method(method).uri(uri).body(Body::empty()).expect("a request")
    }

    fn answered(gate: &Gate, status: StatusCode, after: &'static str) {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, after.parse().expect("a value"))]);
        gate.note(status, &headers);
    }

    #[test]
    fn reads_pass_a_closed_fence_and_writes_do_not() {
        let gate = Gate::new(Arc::default());
        assert!(gate.check(request(Method::GET, "/api/v1/secrets/a")).is_ok());
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let refused = gate.check(request(method.clone(), "/api/v1/secrets/a"));
            assert_eq!(refused.err(), Some(Closed::NotLeader), "{method}");
        }
    }

    #[test]
    fn a_pause_holds_everything_back_but_watches() {
        let gate = Gate::new(Arc::new(Fence::open()));
        answered(&gate, StatusCode::TOO_MANY_REQUESTS, "7");
        let refused = gate.check(request(Method::GET, "/api/v1/secrets/a")).err();
        let Some(Closed::Throttled(left)) = refused else { panic!("{refused:?}") };
        assert!(left > Duration::from_secs(6) && left <= Duration::from_secs(7), "{left:?}");
        assert!(gate.check(request(Method::GET, "/api/v1/secrets?watch=1&resourceVersion=5")).is_ok());
    }

    #[test]
    fn nothing_but_a_number_of_seconds_pauses_and_never_longer_than_a_minute() {
        for (status, value, paused) in [
            (StatusCode::TOO_MANY_REQUESTS, "soon", false),
            (StatusCode::OK, "7", false),
            (StatusCode::SERVICE_UNAVAILABLE, "86400", true),
        ] {
            let gate = Gate::new(Arc::new(Fence::open()));
            answered(&gate, status, value);
            let pause = gate.pause(Moment::now());
            assert_eq!(pause.is_some(), paused, "{status} {value}");
            assert!(pause.is_none_or(|left| left <= LONGEST));
        }
    }
}
