//! Versions of nginx, as far as the configuration depends on them.

use std::{fmt, str::FromStr};

use super::super::EdgeError;
use crate::edge::quote::refuse;

/// The version of an nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// Debian 12's.
    pub const DEBIAN_12: Self = Self(1, 22, 1);

    /// Before, HTTP/2 was a word of `listen`; since then that word is a warning.
    pub fn has_http2_directive(self) -> bool {
        self >= Self(1, 25, 1)
    }
}

impl FromStr for Version {
    type Err = EdgeError;

    fn from_str(text: &str) -> Result<Self, EdgeError> {
        let refused = || refuse("nginx version", "a version from 1.19.4 on, such as 1.22 or 1.26.2");
        let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
        let major = numbers.next().flatten().ok_or_else(refused)?;
        let minor = numbers.next().flatten().ok_or_else(refused)?;
        let patch =
            numbers.next().map_or(Some(u32::from(minor == 19) * 10), |patch| patch).ok_or_else(refused)?;
        // Older ones cannot refuse a handshake.
        let version = Self(major, minor, patch);
        if numbers.next().is_some() || version < Self(1, 19, 4) { Err(refused()) } else { Ok(version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_a_directive_of_its_own_from_1_25_1_on() {
        let new = |text: &str| text.parse::<Version>().unwrap().has_http2_directive();
        assert_eq!(["1.22", "1.25.0", "1.25.1", "1.26", "2.0"].map(new), [false, false, true, true, true]);
        for bad in ["", "1", "1.x", "1.18", "1.22.1.1", "1.22;"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
