//! Hardens a Postgres database by a plan, and proves that it is hardened. It knows nothing of Kubernetes, reads no clock, prints
//! nothing, and no value of its reports or errors is a secret.

mod alter;
mod check;
mod connection;
mod down;
mod harden;
mod init;
mod notices;
mod plan;
mod problem;
mod remedy;
mod report;
mod server;
mod session;
mod settings;
mod triggers;
mod verify;

pub use alter::alter_server;
pub use connection::{Target, TlsMode};
pub use down::{Removed, down};
pub use harden::{Hardened, harden};
pub use init::{init_sql, server_settings};
pub use plan::{Audit, AuditClass, Extension, Invalid, Plan, Scope, WantedExtension};
pub use problem::{Problem, Reason, is_sqlstate};
pub use report::{Evidence, LARGEST, Proof, Report, SeenExtension, SeenSetting, SeenTls};
pub use session::{address, connect};
pub use settings::Setting;
pub use verify::{Check, Control, Outcome, Verification, verify};
