//! Why a token is not believed: for the metric and the log only. A client always gets the same answer.

/// The reason. Each stands for a check, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not one header `Authorization: Bearer` with characters of a token.
    Request,
    /// Longer than a token may be.
    TooLong,
    /// Not three parts of base64url with a JSON object in the first.
    Malformed,
    /// An algorithm that no key has.
    Algorithm,
    /// A header that brings or names a key, is critical, or names a key in a way that no key has.
    Header,
    /// No key of that name and algorithm.
    UnknownKey,
    /// The signature is not by that key.
    Signature,
    /// Claims are missing, twice there or of another type.
    Claims,
    /// Not by the issuer whose key it is.
    Issuer,
    /// For somebody else.
    Audience,
    /// For another environment.
    Environment,
    /// No longer good.
    Expired,
    /// Not yet good.
    NotYet,
    /// Good for longer than a token may be.
    Lifetime,
}

impl Refusal {
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Header => "header",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Environment => "environment",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Lifetime => "lifetime",
        }
    }
}
