#!/usr/bin/env bash
# Lets a real Postgres, migrated to this version, describe each SQL query of the api-server and keeps that in api-server/.sqlx,
# which builds without a database read. With --check it only compares.
source "$(dirname "$0")/lib.sh"
cd "$checkout"

if [[ ${1:-} != --inside ]]; then
    quietly "building the testbed" cargo build --locked -p testbed
    exec target/debug/testbed postgres "$0" --inside "$@"
fi

# By psql and not by the program: that cannot be built before its queries are described.
cat <(echo 'CREATE SCHEMA api;') api-server/migrations/*.up.sql |
    /usr/lib/postgresql/15/bin/psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 "$DATABASE_URL" >/dev/null
kept=$checkout/api-server/.sqlx
described=$(mktemp -d)
trap 'rm -rf "$described"' EXIT
# The macros are expanded again only where a source is newer than what was built from it.
touch api-server/src/lib.rs
SQLX_OFFLINE_DIR=$described quietly "asking Postgres about the queries" cargo check --locked -p api-server
touch api-server/src/lib.rs
if [[ ${2:-} == --check ]]; then
    diff -r "$kept" "$described" >/dev/null || die "api-server/.sqlx is old: run make manifests"
    exit
fi
rm -rf "$kept"
cp -r "$described" "$kept"
