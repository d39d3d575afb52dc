//! Names of conditions and reasons, in one place.

use serde::{Deserialize, Serialize};

/// Types of `status.conditions`. A summary comes first, then one per subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum ConditionType {
    /// Everything that the spec asks for is there and works.
    Ready,
    /// The operator is still working towards the spec (kstatus).
    Reconciling,
    /// The operator cannot go on until the user mends something (kstatus).
    Stalled,
    /// The pods run and are available.
    WorkloadReady,
    /// The certificate is issued, valid and mounted.
    TLSReady,
    /// The values of `spec.secrets` are synced; only where the spec has some.
    SecretsReady,
    /// The Service and the host names are in order.
    ExposureReady,
    /// The default-deny `NetworkPolicy` with its openings is there.
    NetworkReady,
}

impl ConditionType {
    /// Every type, in the order in which status shows them.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::WorkloadReady,
        Self::TLSReady,
        Self::SecretsReady,
        Self::ExposureReady,
        Self::NetworkReady,
    ];

    /// The name in `status.conditions[].type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::WorkloadReady => "WorkloadReady",
            Self::TLSReady => "TLSReady",
            Self::SecretsReady => "SecretsReady",
            Self::ExposureReady => "ExposureReady",
            Self::NetworkReady => "NetworkReady",
        }
    }
}

/// Reasons of conditions and events. Each says what a user can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Reason {
    /// All is well.
    Ready,
    /// Work is under way; wait.
    Progressing,
    /// `spec.suspend` is true: nothing is created or corrected.
    Suspended,
    /// The namespace is not onboarded; a platform admin runs `kubectl hardened onboard`.
    NamespaceNotOnboarded,
    /// The operator lacks a right; a platform admin restores what the message names.
    PermissionDenied,
    /// The installed `CustomResourceDefinition` is older than the operator; a platform admin upgrades it.
    CrdOutdated,
    /// An object of that name belongs to somebody else; delete or rename it, or let `spec.adopt` take it over.
    NameConflict,
    /// A field that cannot be changed differs; delete the child, the operator makes it anew.
    ImmutableField,
    /// Somebody else changes the same field again and again; make him leave it alone, or say what he wants in the spec.
    FieldFight,
    /// A host name is not covered by the namespace's allowed hosts; ask the platform, or change the host name.
    HostNotAllowed,
    /// A Secret that the spec names does not exist or does not carry the label `hardened.dev/service: NAME`; its owner adds it.
    SecretNotAllowed,
    /// The API server refused a child by policy or validation; the message is the server's.
    Refused,
    /// A `ResourceQuota` is used up; free some or raise it.
    QuotaExceeded,
    /// The rollout does not come forward; the message is the Deployment's.
    RolloutFailed,
    /// New values wait for `spec.secrets.changeWindows`. What the workload has stays until then.
    OutsideChangeWindow,
    /// New values wait for their restart, because as many other services as the platform allows restart for theirs.
    RestartWaits,
    /// A Job could not log in to Postgres with a new value; the message says why. Mend the value or the database: the Job tries
    /// again. What the workload has stays until then.
    RotationHeld,
    /// The restart for new values failed its deadline, and the values before are in place again. Write others to the source,
    /// or have the same tried again with the annotation `hardened.dev/force-sync`.
    RotationReverted,
    /// Another child must be there first; see the other conditions.
    Held,
    /// The operator's CA is gone; a platform admin restores it. Certificates in use are kept.
    CaLost,
    /// The certificate that a Secret provides fails a check; the message names it. The previous one stays in use.
    CertificateInvalid,
    /// The certificate that a Secret provides ends soon; its owner replaces it.
    CertificateExpiring,
    /// `spec.tls.issuer.vaultPki` names a connection that the operator's settings do not have; correct it, or ask the platform.
    VaultConnectionUnknown,
    /// The operator's settings do not let services use that role of Vault; choose another, or ask the platform.
    VaultRoleNotAllowed,
    /// Vault does not answer; the operator tries again. A certificate in use is kept.
    VaultUnreachable,
    /// Vault refuses the login of the service's account; the platform admin of Vault makes the role that the message names.
    VaultLoginRefused,
    /// Vault refuses the names or the path, or gave a certificate that is no good; the platform admin of Vault mends it.
    VaultRefused,
    /// What `spec.secrets` names is not in Vault (any more): write it again, undelete it, or correct the path. The values in
    /// use are kept.
    SourceDeleted,
    /// The operator's settings do not let services read that mount of Vault; choose another, or ask the platform.
    VaultMountNotAllowed,
    /// A value of `spec.secrets` is missing or cannot be used; the message names it. What the workload has stays.
    SecretsInvalid,
    /// The operator's settings do not let services use that issuer of cert-manager; choose another, or ask the platform.
    CertManagerIssuerNotAllowed,
    /// The cluster does not serve cert-manager's Certificates; a platform admin installs cert-manager. A certificate in use
    /// is kept.
    CertManagerMissing,
    /// cert-manager has no good certificate for the service; the message is its own. A certificate in use is kept.
    CertificateNotReady,
    /// A request to the API server failed; the operator tries again.
    ApiError,
    /// A pass over the resource hung or ended in a bug; the operator tries again, and its log says where. Report it.
    InternalError,
}

impl Reason {
    /// The name in `status.conditions[].reason` and in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
            Self::Suspended => "Suspended",
            Self::NamespaceNotOnboarded => "NamespaceNotOnboarded",
            Self::PermissionDenied => "PermissionDenied",
            Self::CrdOutdated => "CrdOutdated",
            Self::NameConflict => "NameConflict",
            Self::ImmutableField => "ImmutableField",
            Self::FieldFight => "FieldFight",
            Self::HostNotAllowed => "HostNotAllowed",
            Self::SecretNotAllowed => "SecretNotAllowed",
            Self::Refused => "Refused",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::RolloutFailed => "RolloutFailed",
            Self::OutsideChangeWindow => "OutsideChangeWindow",
            Self::RestartWaits => "RestartWaits",
            Self::RotationHeld => "RotationHeld",
            Self::RotationReverted => "RotationReverted",
            Self::Held => "Held",
            Self::CaLost => "CaLost",
            Self::CertificateInvalid => "CertificateInvalid",
            Self::CertificateExpiring => "CertificateExpiring",
            Self::VaultConnectionUnknown => "VaultConnectionUnknown",
            Self::VaultRoleNotAllowed => "VaultRoleNotAllowed",
            Self::VaultUnreachable => "VaultUnreachable",
            Self::VaultLoginRefused => "VaultLoginRefused",
            Self::VaultRefused => "VaultRefused",
            Self::SourceDeleted => "SourceDeleted",
            Self::VaultMountNotAllowed => "VaultMountNotAllowed",
            Self::SecretsInvalid => "SecretsInvalid",
            Self::CertManagerIssuerNotAllowed => "CertManagerIssuerNotAllowed",
            Self::CertManagerMissing => "CertManagerMissing",
            Self::CertificateNotReady => "CertificateNotReady",
            Self::ApiError => "ApiError",
            Self::InternalError => "InternalError",
        }
    }

    /// Whether only a person can mend it; then `Stalled` is true.
    pub const fn needs_user(self) -> bool {
        matches!(
            self,
            Self::NamespaceNotOnboarded
                | Self::PermissionDenied
                | Self::CrdOutdated
                | Self::NameConflict
                | Self::ImmutableField
                | Self::FieldFight
                | Self::HostNotAllowed
                | Self::SecretNotAllowed
                | Self::Refused
                | Self::QuotaExceeded
                | Self::RotationHeld
                | Self::RotationReverted
                | Self::CaLost
                | Self::CertificateInvalid
                | Self::VaultConnectionUnknown
                | Self::VaultRoleNotAllowed
                | Self::VaultLoginRefused
                | Self::VaultRefused
                | Self::SourceDeleted
                | Self::VaultMountNotAllowed
                | Self::SecretsInvalid
                | Self::CertManagerIssuerNotAllowed
                | Self::CertManagerMissing
        )
    }
}
