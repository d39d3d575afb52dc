//! A cloud identity: a projected token of the one audience and what each SDK looks for. It is never an API token.

use crds::{GcpIdentity, HardenedService, Identity};
use k8s_openapi::api::core::v1::{
    EnvVar, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use serde::Serialize;

use crate::{container, policy, volumes};

const DIR: &str = "/var/run/secrets/hardened.dev/identity";
const FILE: &str = "/var/run/secrets/hardened.dev/identity/token";
/// Key of the policy `ConfigMap` with the credential configuration of Google's SDKs; it holds no secret.
pub const GCP_KEY: &str = "google.json";

pub fn mounted(identity: &Identity) -> Option<(Volume, VolumeMount)> {
    let audience = match identity {
        Identity { aws: Some(_), .. } => "sts.amazonaws.com",
        Identity { azure: Some(_), .. } => "api://AzureADTokenExchange",
        Identity { gcp: Some(gcp), .. } => &gcp.audience,
        Identity { aws: None, azure: None, gcp: None } => return None,
    };
    let source = ProjectedVolumeSource {
        default_mode: Some(volumes::READ_ONLY_MODE),
        sources: Some(vec![VolumeProjection {
            service_account_token: Some(ServiceAccountTokenProjection {
                audience: Some(audience.into()),
                expiration_seconds: Some(3600),
                path: "token".into(),
                ..ServiceAccountTokenProjection::default()
            }),
            ..VolumeProjection::default()
        }]),
        ..ProjectedVolumeSource::default()
    };
    Some((
        Volume { name: "identity".into(), projected: Some(source), ..Volume::default() },
        volumes::read_only("identity", DIR),
    ))
}

pub fn env(identity: &Identity) -> Vec<EnvVar> {
    let var = container::var;
    match identity {
        Identity { aws: Some(aws), .. } => {
            vec![var("AWS_ROLE_ARN", &aws.role_arn), var("AWS_WEB_IDENTITY_TOKEN_FILE", FILE)]
        }
        Identity { azure: Some(azure), .. } => vec![
            var("AZURE_CLIENT_ID", &azure.client_id),
            var("AZURE_FEDERATED_TOKEN_FILE", FILE),
            var("AZURE_TENANT_ID", &azure.tenant_id),
        ],
        Identity { gcp: Some(_), .. } => {
            vec![var("GOOGLE_APPLICATION_CREDENTIALS", &format!("{}/{GCP_KEY}", policy::DIR))]
        }
        Identity { aws: None, azure: None, gcp: None } => Vec::new(),
    }
}

#[derive(Serialize)]
struct ExternalAccount<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    audience: &'a str,
    subject_token_type: &'static str,
    token_url: &'static str,
    credential_source: CredentialSource,
}

#[derive(Serialize)]
struct CredentialSource {
    file: &'static str,
}

/// The file that `GOOGLE_APPLICATION_CREDENTIALS` names.
pub fn gcp_file(service: &HardenedService) -> Option<String> {
    let GcpIdentity { audience } = service.spec.workload.identity.as_ref()?.gcp.as_ref()?;
    serde_json::to_string_pretty(&ExternalAccount {
        type_: "external_account",
        audience,
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
        token_url: "https://sts.googleapis.com/v1/token",
        credential_source: CredentialSource { file: FILE },
    })
    .ok()
}
