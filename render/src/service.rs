//! The pods' address. The cluster's own fields (addresses, families) are not ours: the operator carries them.

use crds::HardenedService;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    defaults,
    meta::{self, Component},
};

pub fn service(service: &HardenedService) -> Service {
    let (_, metrics) = defaults::ports(service);
    Service {
        metadata: meta::named_as_service(service, Component::Workload),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(meta::selected(service)),
            // Clients write no port with 443; `appProtocol` tells an edge to speak TLS to the pods.
            ports: Some(vec![
                port("https", 443, "http", "https"),
                port("metrics", metrics, "metrics", "http"),
            ]),
            internal_traffic_policy: Some("Cluster".into()),
            session_affinity: Some("None".into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, port: i32, target: &str, app_protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        app_protocol: Some(app_protocol.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String(target.into())),
        ..ServicePort::default()
    }
}
