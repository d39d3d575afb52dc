#!/usr/bin/env bash
# Measures what encrypted columns and the audit cost the api-server's own statements, on a real Postgres of its own with TLS.
# It takes about two minutes after the build and writes docs/benchmarks/postgres.md; it fails when the cost is above the bar.
# ROUNDS and WARM_UP are for a short trial, which writes nothing.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
target=docs/benchmarks/postgres.md

step "programs"
tests/install-debian.sh
quietly "building the benchmark" cargo build --release --locked -p api-server --example bench_postgres

step "measuring"
load=$(cut -d ' ' -f 1 /proc/loadavg)
commit=$(git rev-parse --short=12 HEAD)
[[ -z $(git status --porcelain -- ':!docs') ]] || commit="$commit with changes"
memory=$(awk '/^MemTotal:/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
audit=$(dpkg-query -W -f '${Version}' postgresql-15-pgaudit)
table=$(mktemp)
trap 'rm -f "$table"' EXIT
failed=
target/release/examples/bench_postgres >"$table" || failed=1
[[ -s $table ]] || die "nothing was measured"
[[ -z ${ROUNDS:-}${WARM_UP:-} ]] || target=/dev/null
{
    printf '# What encrypted columns and the audit cost\n\n'
    printf 'Commit `%s`, command `make bench-postgres`, %s, %s cores, %s GiB, load %s before it began, pgaudit %s.\n' \
        "$commit" "$(date -u +%F)" "$(nproc)" "$memory" "$load" "$audit"
    cat "$table"
    cat <<'MARKDOWN'

- `plain`: columns of type bytea without pgcrypto. `encrypted`: pgcrypto as the service uses it (AES-256). `audited`: plain with
  `pgaudit.log = all` and `pgaudit.log_rows = on`. `both`: what [postgres.md](../postgres.md) recommends.
- The statements are the service's own functions (`api-server/src/database`) through sqlx, prepared, each with its round trips. Without pgcrypto its
  four functions are SQL functions that give back what they are given, so the text of each statement is the same.
- Postgres and the client share the machine. A commit does not wait for the disk (`synchronous_commit = off`): that wait is the same for all four, takes some
  milliseconds here, and differs so much from one commit to the next that it hides what is measured. In production it comes on top of each.
- After the run each database is looked at: TLS, ciphertext or not, lines of the audit or not.
- The stand-ins for pgcrypto's functions cost some microseconds themselves (`convert_to`, `convert_from`), so at P50 a single encrypted read or write is not above `plain`.
- A difference is of percentiles; its confidence is a bootstrap over rounds, 500 draws, so what disturbed the machine for a round disturbed all four.
MARKDOWN
} | tee "$target"
[[ -z $failed ]] || die "the cost is above the bar"
