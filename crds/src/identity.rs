//! A cloud identity for the pod: a projected token of one audience, never a Kubernetes API token.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Exactly one cloud.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.aws), has(self.azure), has(self.gcp)].filter(x, x).size() == 1")
        .message("spec.workload.identity: set exactly one of aws, azure, gcp")
)]
pub struct Identity {
    /// IAM role for AWS (web identity federation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsIdentity>,
    /// Managed identity for Azure (workload identity federation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureIdentity>,
    /// Workload identity federation for Google Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp: Option<GcpIdentity>,
}

/// AWS: sets `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsIdentity {
    /// ARN of the role.
    #[schemars(length(max = 200))]
    #[x_kube(validation = crate::rules::matches(
        "spec.workload.identity.aws.roleArn",
        "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$",
        "the ARN of an IAM role, such as arn:aws:iam::123456789012:role/studio",
    ))]
    pub role_arn: String,
}

/// Azure: sets `AZURE_CLIENT_ID`, `AZURE_TENANT_ID` and `AZURE_FEDERATED_TOKEN_FILE`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureIdentity {
    /// Client id of the managed identity.
    #[schemars(length(max = 36))]
    #[x_kube(validation = crate::rules::matches(
        "spec.workload.identity.azure.clientId",
        "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "a lower-case UUID, such as 11111111-2222-3333-4444-555555555555",
    ))]
    pub client_id: String,
    /// Tenant id.
    #[schemars(length(max = 36))]
    #[x_kube(validation = crate::rules::matches(
        "spec.workload.identity.azure.tenantId",
        "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "a lower-case UUID, such as 11111111-2222-3333-4444-555555555555",
    ))]
    pub tenant_id: String,
}

/// Google Cloud: the token lies at `/var/run/secrets/hardened.dev/identity/token`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpIdentity {
    /// Audience: the full resource name of the workload identity provider.
    #[schemars(length(max = 300))]
    #[x_kube(validation = crate::rules::matches(
        "spec.workload.identity.gcp.audience",
        "^//iam[.]googleapis[.]com/projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+$",
        "a provider's full name: //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER",
    ))]
    pub audience: String,
}
