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
    /// The database is hardened, and that was proven; only with `spec.postgres`.
    DatabaseReady,
    /// The Service and the host names are in order.
    ExposureReady,
    /// The default-deny `NetworkPolicy` with its openings is there.
    NetworkReady,
}

impl ConditionType {
    /// Every type, in the order in which status shows them.
    pub const ALL: [Self; 9] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::WorkloadReady,
        Self::TLSReady,
        Self::SecretsReady,
        Self::DatabaseReady,
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
            Self::DatabaseReady => "DatabaseReady",
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
    /// The operator's settings name no image for Jobs (`jobs.image`); a platform admin sets it.
    JobsNotAllowed,
    /// The Job that looks at the database ended without a word; the message names it. The next one tries again.
    JobFailed,
    /// Postgres does not load a library at its start; whoever runs the server adds it, as the message says.
    PreloadMissing,
    /// The library is in the configuration of Postgres, which was not restarted since; whoever runs the server does that.
    RestartPending,
    /// The login of `spec.postgres.connection` may not do it; the message says which right it lacks.
    NotSuperuser,
    /// Postgres does not have the extension, or not in this version; the message names those that it has.
    NotAvailable,
    /// Postgres is older than 13; upgrade it.
    UnsupportedVersion,
    /// Postgres takes no writes: let the connection lead to the primary. The next Job tries again.
    ReadOnlyStandby,
    /// Nobody answers as Postgres; open the way in `spec.network.egressTo`, or start it. The next Job tries again.
    Unreachable,
    /// Postgres does not let the login in; set the same password in both places, and look at `pg_hba.conf`.
    AuthFailed,
    /// Postgres has no TLS, or a certificate that is not trusted or not for its host; correct `spec.postgres.tls` or the
    /// server.
    TlsFailed,
    /// There is no such database; create it, or correct the name.
    DatabaseMissing,
    /// Every connection of Postgres is taken. The next Job tries again.
    TooManyConnections,
    /// The Secret of `spec.postgres.connection` does not say where the database is; the message names what is missing.
    InvalidUrl,
    /// The schema of an extension does not exist; create it, or name another.
    SchemaMissing,
    /// An extension is installed in another schema, and nothing is moved; name that one, or drop it there.
    WrongSchema,
    /// Postgres refused a step otherwise; the message has its SQLSTATE.
    DatabaseRefused,
    /// Something of the database is not as the spec asks; the message names it and the fix. The next Job hardens again.
    VerificationFailed,
    /// Something of the database could not be seen; the message names the right that the verifying login lacks.
    NotProven,
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
            Self::JobsNotAllowed => "JobsNotAllowed",
            Self::JobFailed => "JobFailed",
            Self::PreloadMissing => "PreloadMissing",
            Self::RestartPending => "RestartPending",
            Self::NotSuperuser => "NotSuperuser",
            Self::NotAvailable => "NotAvailable",
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::ReadOnlyStandby => "ReadOnlyStandby",
            Self::Unreachable => "Unreachable",
            Self::AuthFailed => "AuthFailed",
            Self::TlsFailed => "TlsFailed",
            Self::DatabaseMissing => "DatabaseMissing",
            Self::TooManyConnections => "TooManyConnections",
            Self::InvalidUrl => "InvalidUrl",
            Self::SchemaMissing => "SchemaMissing",
            Self::WrongSchema => "WrongSchema",
            Self::DatabaseRefused => "DatabaseRefused",
            Self::VerificationFailed => "VerificationFailed",
            Self::NotProven => "NotProven",
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
                | Self::JobsNotAllowed
                | Self::PreloadMissing
                | Self::RestartPending
                | Self::NotSuperuser
                | Self::NotAvailable
                | Self::UnsupportedVersion
                | Self::AuthFailed
                | Self::TlsFailed
                | Self::DatabaseMissing
                | Self::InvalidUrl
                | Self::SchemaMissing
                | Self::WrongSchema
                | Self::DatabaseRefused
                | Self::VerificationFailed
                | Self::NotProven
        )
    }
}
