//! Is this very connection encrypted? As the server says it: whoever sits between would be seen from its side too.

use sqlx::PgConnection;

use super::{Check, Control};
use crate::{problem::tame, report::SeenTls};

const FIX: &str = "connect with sslmode=verify-full, and set ssl = on and ssl_min_protocol_version = 'TLSv1.2' on the server";

pub(super) async fn look(
    connection: &mut PgConnection,
    verified: bool,
) -> sqlx::Result<(Check, Option<SeenTls>)> {
    let sql =
        "SELECT ssl, version, cipher FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
    let row: Option<(bool, Option<String>, Option<String>)> =
        sqlx::query_as(sql).fetch_optional(connection).await?;
    let control = Control::Tls;
    Ok(match row {
        Some((true, Some(version), cipher)) => {
            let cipher = cipher.unwrap_or_default();
            let evidence = format!("{version}, {cipher}");
            let check = if ["TLSv1.2", "TLSv1.3"].contains(&&*version) {
                Check::passed(control, evidence)
            } else {
                Check::failed(control, evidence, FIX)
            };
            (check, Some(SeenTls { version: tame(&version), cipher: tame(&cipher), verified }))
        }
        Some((true, None, _)) | None => {
            (Check::unknown(control, "the server does not say how it is connected", FIX), None)
        }
        Some((false, ..)) => (Check::failed(control, "the connection is not encrypted", FIX), None),
    })
}
