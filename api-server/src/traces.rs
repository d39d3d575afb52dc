//! OpenTelemetry traces: a span for each request, sent by OTLP over HTTP. Set up by the standard `OTEL_` variables alone;
//! without an endpoint nothing is made and a request costs nothing.

use std::{env, path::PathBuf, thread, time::SystemTime};

use actix_web::http::header::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};

use crate::outbound;

/// Makes and sends spans.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// A request that was answered.
#[derive(Debug)]
pub struct Answered<'a> {
    /// Its headers: `traceparent` (W3C Trace Context) names the span above.
    pub headers: &'a HeaderMap,
    /// When its head was read.
    pub started: SystemTime,
    /// GET and so on.
    pub method: &'a str,
    /// The route's template.
    pub route: &'a str,
    /// Of the answer.
    pub status: u16,
    /// The id that the log has too.
    pub request_id: &'a str,
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(actix_web::http::header::HeaderName::as_str).collect()
    }
}

impl Traces {
    /// Nothing without `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
    pub fn from_environment() -> Result<Option<Self>, String> {
        let set = |name: &str| env::var(name).is_ok_and(|value| !value.is_empty());
        let wanted = set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let disabled = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
        if !wanted || disabled {
            return Ok(None);
        }
        // The blocking client has a runtime of its own, which must not begin inside another one.
        thread::spawn(Self::new).join().map_err(|_| "the exporter cannot be made".to_owned())?.map(Some)
    }

    fn new() -> Result<Self, String> {
        let ca_file = env::var_os("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from);
        let client = reqwest::blocking::Client::builder()
            .tls_backend_preconfigured(outbound::trust(ca_file.as_ref()).map_err(|e| e.to_string())?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| e.to_string())?;
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.map_err(|e| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {e}"))?;
        let service =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let service = if env::var_os("OTEL_SERVICE_NAME").is_some() {
            service
        } else {
            service.with_service_name("api-server")
        };
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(service.build()).build();
        let tracer = provider.tracer("api-server");
        Ok(Self { provider, tracer, propagator: TraceContextPropagator::new() })
    }

    /// Records a request by the HTTP semantic conventions 1.23; never a path or a query, which can hold a secret.
    pub fn record(&self, answered: &Answered<'_>) {
        let Answered { headers, started, method, route, status, request_id } = answered;
        let above = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        let attributes = [
            KeyValue::new("http.request.method", (*method).to_owned()),
            KeyValue::new("http.route", (*route).to_owned()),
            KeyValue::new("http.response.status_code", i64::from(*status)),
            KeyValue::new("http.request.id", (*request_id).to_owned()),
        ];
        let mut span = self
            .tracer
            .span_builder(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_start_time(*started)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, &above);
        if *status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Sends what has not been sent.
    pub fn finish(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}
