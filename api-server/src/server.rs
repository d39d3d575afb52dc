//! Sockets, limits and the drain. It knows the app only as something to serve.

use std::{fmt, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use actix_http::{
    HttpService, KeepAlive, Protocol, Request, Response, body::MessageBody, error::DispatchError,
};
use actix_server::{GracefulShutdownSignal, Server, ServerBuilder};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory, fn_service, map_config,
};
use actix_tls::accept::{
    TlsError as AcceptError, max_concurrent_tls_connect,
    rustls_0_23::{Acceptor, TlsStream},
};
use actix_web::{
    dev::{AppConfig, Service},
    web::Data,
};
use futures::FutureExt as _;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{
    Routes, app,
    config::{Config, Environment},
    headers::random,
    jwt,
    middleware::PART,
    port::{Port, admitted},
    reload, routes,
    secrets::Secrets,
    state::{State, StateError},
    tls::{self, Certificate, TlsError},
    traces::Traces,
    turn::Taken,
    wire::Wire,
    worker,
};

/// An idle client is let go after this; proxies in front keep theirs shorter.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A connection without an answer yet gets so long for its first request when the process ends: actix would close it at
/// once, under a request that was just sent, and a proxy must not repeat a POST.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// What an HTTP/2 client may send before it is read, for a stream and for all of them: actix-http's 2 MiB for each
/// connection are 20 GiB for 10,000.
const WINDOW: u32 = 64 * 1024;

/// Why the service does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The policy or a secret is of no use.
    #[error(transparent)]
    State(#[from] StateError),
    /// The pair cannot be served.
    #[error("load TLS_DIR")]
    Tls(#[from] TlsError),
    /// An address cannot be bound.
    #[error("listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// A bound service. Nothing is accepted before it runs.
pub struct Bound {
    /// Where the API listens.
    pub api_addr: SocketAddr,
    /// Where the metrics listen.
    pub metrics_addr: SocketAddr,
    state: Data<State>,
    api: Server,
    metrics: Server,
}

/// Reads the files, binds both ports and starts the workers. Must be called inside a tokio runtime.
pub fn bind(config: Config, secrets: Secrets, routes: Routes) -> Result<Bound, StartError> {
    let certificate = config.tls_dir.as_deref().map(Certificate::load).transpose()?.map(Arc::new);
    let tls = certificate.clone().map(tls::server_config).transpose()?;
    let failed = |addr| move |source| StartError::Listen { addr, source };
    let (api_addr, metrics_addr) = (config.api_addr(), config.metrics_addr());
    let patience = Duration::from_secs(config.body_timeout);
    let (api_port, api_addr) = Port::open(api_addr, tls, patience).map_err(failed(api_addr))?;
    let (metrics_port, metrics_addr) =
        Port::open(metrics_addr, None, patience).map_err(failed(metrics_addr))?;
    let workers = config.worker_count();
    let per_worker = (config.max_connections as usize / workers).max(1);
    // Otherwise 256 clients that never finish their handshake would keep everybody else out.
    max_concurrent_tls_connect(per_worker);
    let api = builder(&config, workers).max_concurrent_connections(per_worker);
    // Metrics have a worker of their own: a flood on the API must not blind its watchers.
    let metrics = builder(&config, 1).max_concurrent_connections(64);
    if api_port.tls.is_none() && config.environment != Environment::Development {
        tracing::warn!("TLS_DIR is not set: the API is served in plain HTTP, let only a proxy reach it");
    }
    let state = Data::new(State::new(config, secrets, certificate)?);

    let shared = state.clone();
    let api = serve(api, api_port, &state, move || app(shared.clone(), routes));
    let shared = state.clone();
    let metrics = serve(metrics, metrics_port, &state, move || app(shared.clone(), routes::metrics));
    let (api, metrics) = (api.map_err(failed(api_addr))?, metrics.map_err(failed(metrics_addr))?);
    Ok(Bound { api_addr, metrics_addr, state, api: api.run(), metrics: metrics.run() })
}

impl Bound {
    /// Serves until `stop` is ready, then drains: not ready, a pause in which clients are told to go, no new
    /// connections, requests in flight finish.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let Self { state, api, metrics, api_addr, metrics_addr } = self;
        tracing::info!(%api_addr, %metrics_addr, tls = state.certificate.is_some(), "serving");
        let followers = tokio::spawn(follow(state.clone()));
        let worker = tokio::spawn(worker::run(state.clone()));
        let (api_handle, metrics_handle) = (api.handle(), metrics.handle());
        let drain = async {
            stop.await;
            state.drain();
            tracing::info!("draining");
            tokio::time::sleep(Duration::from_secs(state.config.drain_delay)).await;
            api_handle.stop(true).await;
            metrics_handle.stop(false).await;
        };
        let (api, metrics, ()) = tokio::join!(api, metrics, drain);
        followers.abort();
        // Jobs under way had the time that requests in flight had; what is not done now is taken by another replica.
        worker.abort();
        if state.traces.is_some() {
            // It waits for the collector, so not on this thread; what it says there has no reader.
            let _ = tokio::task::spawn_blocking(move || state.traces.as_ref().map(Traces::finish)).await;
        }
        tracing::info!("stopped");
        api.and(metrics)
    }
}

/// Everything that is watched while the process runs.
async fn follow(state: Data<State>) {
    tokio::join!(
        reload::follow(state.clone()),
        state.database.follow(&state.secrets),
        state.redis.follow(&state.secrets),
        state.follow_secrets(),
        jwt::follow(state.clone()),
        state.secrets.clone().follow(state.config.clone())
    );
}

fn builder(config: &Config, workers: usize) -> ServerBuilder {
    Server::build().workers(workers).shutdown_timeout(config.shutdown_timeout).disable_signals()
}

fn serve<A, F, S, B>(
    builder: ServerBuilder,
    port: Port,
    state: &Data<State>,
    app: A,
) -> io::Result<ServerBuilder>
where
    A: Fn() -> F + Send + Clone + 'static,
    F: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig, Error = actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Future: 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let stopping = builder.graceful_shutdown_signal();
    let state = state.clone();
    let Port { listener, connections, tls } = port;
    let Some(tls) = tls else {
        return builder.listen("plain", listener, move || {
            let wired = state.clone();
            let plain = fn_service(move |io: TcpStream| {
                let wired = wired.clone();
                async move {
                    let peer = io.peer_addr().ok();
                    io.set_nodelay(true).map_err(DispatchError::Io)?;
                    Ok((Wire::new(io, wired, true), Protocol::Http1, peer))
                }
            });
            admitted(
                connections.clone(),
                state.clone(),
                plain.and_then(http(state.clone(), stopping.clone(), app())),
            )
        });
    };
    builder.listen("tls", listener, move || {
        let wired = state.clone();
        let mut acceptor = Acceptor::new(tls.clone());
        acceptor.set_handshake_timeout(Duration::from_secs(state.config.header_timeout));
        let secured = acceptor.map_init_err(|()| ()).map_err(AcceptError::into_service_error).and_then(
            move |io: TlsStream<TcpStream>| {
                let wired = wired.clone();
                async move {
                    let (tcp, session) = io.get_ref();
                    let http1 = session.alpn_protocol() != Some(b"h2");
                    let peer = tcp.peer_addr().ok();
                    tcp.set_nodelay(true).map_err(|e| AcceptError::Service(DispatchError::Io(e)))?;
                    let protocol = if http1 { Protocol::Http1 } else { Protocol::Http2 };
                    Ok((Wire::new(io, wired, http1), protocol, peer))
                }
            },
        );
        let http = http(state.clone(), stopping.clone(), app()).map_err(AcceptError::Service);
        admitted(connections.clone(), state.clone(), secured.and_then(http))
    })
}

/// HTTP over one connection. An error that gets past the stack still leaves with the security headers.
fn http<IO, F, S, B>(
    state: Data<State>,
    stopping: GracefulShutdownSignal,
    app: F,
) -> impl ServiceFactory<
    (Wire<IO>, Protocol, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    F: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error = actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Future: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    // The generator seeds itself once per thread, in about 50 ms: now, not in the first answer.
    let _ = random::<1>();
    let timeout = Duration::from_secs(state.config.header_timeout);
    let app = apply_fn_factory(app, |mut request: Request, service: &S::Service| {
        // On the heap, and gone with the answer: a stream of HTTP/2 whose client takes nothing would hold it, and 30,000 of
        // them took 91 MiB more.
        let (taken, answer) = (Taken::by(&mut request), Box::pin(service.call(request)));
        answer.map(move |answer| {
            drop(taken);
            answer
        })
    });
    let app = app.map_err(move |error: actix_web::Error| {
        let mut response = error.error_response();
        state.policy().headers.apply(response.headers_mut());
        Response::from(response)
    });
    HttpService::build()
        .on_connect_ext(|wire: &Wire<IO>, connection| {
            connection.insert(wire.turn());
        })
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(timeout)
        .client_disconnect_timeout(timeout)
        .h1_write_buffer_size(PART)
        .h2_initial_window_size(WINDOW)
        .h2_initial_connection_window_size(WINDOW)
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move {
                stopping.notified().await;
                tokio::time::sleep(FIRST_REQUEST).await;
            }
        })
        .finish(map_config(app, |()| AppConfig::default()))
}
