//! Host names: which the platform allows, which the certificate carries, which the workload answers to.

use crds::HardenedService;
use kube::ResourceExt;

use crate::Facts;

/// Whether a pattern covers the host: the same name, or `*.SUFFIX` with exactly one label before the suffix.
pub fn allowed(host: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_prefix("*.") {
        Some(suffix) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == suffix),
        None => host == pattern,
    })
}

/// Names in the certificate, the Service's own first.
pub fn certificate_names(service: &HardenedService, facts: &Facts) -> Vec<String> {
    let (name, namespace) = (service.name_any(), service.namespace().unwrap_or_default());
    let mut names = vec![
        name.clone(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.{}", facts.settings.cluster_domain),
    ];
    for host in hostnames(service).filter(|host| allowed(host, &facts.allowed_hosts)) {
        if !names.contains(host) {
            names.push(host.clone());
        }
    }
    names
}

/// Host names of the spec that the namespace may not use.
pub fn denied(service: &HardenedService, facts: &Facts) -> Vec<String> {
    hostnames(service).filter(|host| !allowed(host, &facts.allowed_hosts)).cloned().collect()
}

/// Names by which clients find the service: the allowed host names, else the Service's. Never empty.
pub fn client_names(service: &HardenedService, facts: &Facts) -> Vec<String> {
    let allowed = hostnames(service).filter(|host| allowed(host, &facts.allowed_hosts));
    let hosts: Vec<_> = allowed.cloned().collect();
    let inside = || format!("{}.{}.svc", service.name_any(), service.namespace().unwrap_or_default());
    if hosts.is_empty() { vec![inside()] } else { hosts }
}

/// Where clients find the service.
pub fn url(service: &HardenedService, facts: &Facts) -> String {
    format!("https://{}", client_names(service, facts)[0])
}

fn hostnames(service: &HardenedService) -> impl Iterator<Item = &String> {
    service.spec.exposure.iter().flat_map(|exposure| &exposure.hostnames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_its_name_or_one_label() {
        let patterns = ["studio.example".into(), "*.apps.example".into()];
        for host in ["studio.example", "a.apps.example", "xn--bcher-kva.apps.example"] {
            assert!(allowed(host, &patterns), "{host}");
        }
        for host in [
            "example",
            "a.studio.example",
            "apps.example",
            ".apps.example",
            "a.b.apps.example",
            "aapps.example",
        ] {
            assert!(!allowed(host, &patterns), "{host}");
        }
    }

    #[test]
    fn a_bare_star_or_an_empty_pattern_covers_nothing() {
        for pattern in ["*", "*.", "", "**.example", "a.*"] {
            assert!(!allowed("a.example", &[pattern.into()]), "{pattern}");
        }
    }
}
