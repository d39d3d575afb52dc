//! Names of controls for people: `roundTrip`, `extension pgcrypto`, `auditSetting pgaudit.log`.

use std::fmt;

use super::Control;

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extension(extension) => return write!(f, "extension {extension}"),
            Self::AuditSetting(setting) => return write!(f, "auditSetting {}", setting.as_str()),
            Self::RoundTrip => "roundTrip",
            Self::Digest => "digest",
            Self::RandomBytes => "randomBytes",
            Self::RandomUuid => "randomUuid",
            Self::PreloadLibraries => "preloadLibraries",
            Self::AuditOverrides => "auditOverrides",
            Self::AuditCanary => "auditCanary",
            Self::LogConnections => "logConnections",
            Self::LogDisconnections => "logDisconnections",
            Self::PasswordEncryption => "passwordEncryption",
            Self::Md5Passwords => "md5Passwords",
            Self::Tls => "tls",
        })
    }
}
