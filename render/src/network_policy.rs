//! Default deny both ways, and one function for each opening. An opening without peers is left out: an empty list of
//! peers would let everybody in.

use std::collections::BTreeMap;

use crds::{EgressRule, HardenedService, IngressPeer, LabelSelector as UserSelector, Protocol};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use kube::ResourceExt;

use crate::{
    Facts, Peer, Settings, cidr, defaults,
    meta::{self, Component},
    some,
};

pub fn network_policy(service: &HardenedService, facts: &Facts) -> NetworkPolicy {
    let settings = &facts.settings;
    let ingress = [
        from_clients(service),
        from_edge(service, settings),
        from_monitoring(service, settings),
        from_prober(service, settings),
    ];
    NetworkPolicy {
        metadata: meta::named_as_service(service, Component::Network),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::selector(service)),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: some(ingress.into_iter().flatten().collect()),
            egress: egress_rules(service, settings),
        }),
    }
}

/// The service's Jobs reach what its pods may, and nobody reaches them.
pub fn of_jobs(service: &HardenedService, facts: &Facts) -> Option<NetworkPolicy> {
    let database = service.spec.postgres.is_some() && facts.settings.jobs.image.is_some();
    if facts.login.is_none() && !database {
        return None;
    }
    let labels = BTreeMap::from([(crds::JOB_LABEL.to_owned(), service.name_any())]);
    Some(NetworkPolicy {
        metadata: meta::named_with(service, "jobs", Component::Network),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: None,
            egress: egress_rules(service, &facts.settings),
        }),
    })
}

fn egress_rules(service: &HardenedService, settings: &Settings) -> Option<Vec<NetworkPolicyEgressRule>> {
    let named = service.spec.network.iter().flat_map(|n| &n.egress_to).map(to_destination);
    some([to_dns(settings)].into_iter().chain(named).flatten().collect())
}

/// The callers that the spec names reach the API.
fn from_clients(service: &HardenedService) -> Option<NetworkPolicyIngressRule> {
    let peers = service.spec.network.iter().flat_map(|n| &n.ingress_from);
    ingress(peers.filter_map(client).collect(), &[defaults::ports(service).0])
}

/// The platform's edge brings traffic from outside.
fn from_edge(service: &HardenedService, settings: &Settings) -> Option<NetworkPolicyIngressRule> {
    ingress(platform(&settings.edge), &[defaults::ports(service).0])
}

/// Monitoring reads metrics and nothing else.
fn from_monitoring(service: &HardenedService, settings: &Settings) -> Option<NetworkPolicyIngressRule> {
    ingress(platform(&settings.monitoring), &[defaults::ports(service).1])
}

/// The prober checks from inside what clients see, and that metrics are there.
fn from_prober(service: &HardenedService, settings: &Settings) -> Option<NetworkPolicyIngressRule> {
    let (http, metrics) = defaults::ports(service);
    ingress(platform(&settings.prober), &[http, metrics])
}

/// Without names nothing else can be reached; large answers come by TCP.
fn to_dns(settings: &Settings) -> Option<NetworkPolicyEgressRule> {
    egress(platform(&settings.dns), vec![port(53, Protocol::UDP), port(53, Protocol::TCP)])
}

/// A destination that the spec names, less the metadata service of the cloud.
fn to_destination(rule: &EgressRule) -> Option<NetworkPolicyEgressRule> {
    let ports = rule.ports.iter().map(|p| port(p.port, p.protocol.unwrap_or_default())).collect();
    let peer = match &rule.cidr {
        Some(range) => {
            let (cidr, except) = cidr::open(range)?;
            Some(NetworkPolicyPeer {
                ip_block: Some(IPBlock { cidr, except: some(except) }),
                ..NetworkPolicyPeer::default()
            })
        }
        None => by_labels(rule.namespace_selector.as_ref(), rule.pod_selector.as_ref()),
    };
    egress(peer.into_iter().collect(), ports)
}

fn ingress(peers: Vec<NetworkPolicyPeer>, ports: &[i32]) -> Option<NetworkPolicyIngressRule> {
    let ports = ports.iter().map(|number| port(*number, Protocol::TCP)).collect();
    some(peers).map(|peers| NetworkPolicyIngressRule { from: Some(peers), ports: Some(ports) })
}

fn egress(peers: Vec<NetworkPolicyPeer>, ports: Vec<NetworkPolicyPort>) -> Option<NetworkPolicyEgressRule> {
    some(peers)
        .zip(some(ports))
        .map(|(peers, ports)| NetworkPolicyEgressRule { to: Some(peers), ports: Some(ports) })
}

fn port(number: i32, protocol: Protocol) -> NetworkPolicyPort {
    let protocol = match protocol {
        Protocol::TCP => "TCP",
        Protocol::UDP => "UDP",
    };
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.into()),
        ..NetworkPolicyPort::default()
    }
}

fn platform(peers: &[Peer]) -> Vec<NetworkPolicyPeer> {
    peers
        .iter()
        .filter_map(|peer| selected(labels(&peer.namespace_labels), labels(&peer.pod_labels)))
        .collect()
}

fn client(peer: &IngressPeer) -> Option<NetworkPolicyPeer> {
    by_labels(peer.namespace_selector.as_ref(), peer.pod_selector.as_ref())
}

fn by_labels(namespaces: Option<&UserSelector>, pods: Option<&UserSelector>) -> Option<NetworkPolicyPeer> {
    let of = |selector: Option<&UserSelector>| selector.and_then(|s| labels(&s.match_labels));
    selected(of(namespaces), of(pods))
}

/// A selector without labels would choose everything, so it counts as none, and a peer of none is no peer.
fn selected(namespaces: Option<LabelSelector>, pods: Option<LabelSelector>) -> Option<NetworkPolicyPeer> {
    (namespaces.is_some() || pods.is_some()).then(|| NetworkPolicyPeer {
        namespace_selector: namespaces,
        pod_selector: pods,
        ..NetworkPolicyPeer::default()
    })
}

fn labels(labels: &BTreeMap<String, String>) -> Option<LabelSelector> {
    some(labels.clone())
        .map(|labels| LabelSelector { match_labels: Some(labels), ..LabelSelector::default() })
}
