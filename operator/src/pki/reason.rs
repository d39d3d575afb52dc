//! Why a certificate is issued anew, by the names of events and metrics.

/// Why a certificate is issued anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssueReason {
    /// There is none.
    Missing,
    /// Certificate or key cannot be read.
    Unparsable,
    /// The key is not the certificate's.
    KeyMismatch,
    /// Our CA did not sign it, or it is not what Vault gave.
    WrongIssuer,
    /// It names other hosts than it should.
    NamesChanged,
    /// The spec asks for another kind of key.
    KeyTypeChanged,
    /// The spec asks for another life.
    DurationChanged,
    /// The CA is being replaced.
    CaChanged,
    /// The spec names another issuer.
    IssuerChanged,
    /// Its time has come.
    RenewalDue,
}

impl IssueReason {
    /// Whether the pair was no good; otherwise its time, the spec or the CA has changed.
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Missing | Self::Unparsable | Self::KeyMismatch | Self::WrongIssuer)
    }

    /// The name in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::Unparsable => "Unparsable",
            Self::KeyMismatch => "KeyMismatch",
            Self::WrongIssuer => "WrongIssuer",
            Self::NamesChanged => "NamesChanged",
            Self::KeyTypeChanged => "KeyTypeChanged",
            Self::DurationChanged => "DurationChanged",
            Self::CaChanged => "CaChanged",
            Self::IssuerChanged => "IssuerChanged",
            Self::RenewalDue => "RenewalDue",
        }
    }
}
