#!/usr/bin/env bash
# Measures what services cost on control planes of its own, in about six minutes, and writes docs/benchmarks.md. The
# machine should do nothing else meanwhile. Arguments go to `testbed bench`; with any, the file is left alone.
source "$(dirname "$0")/lib.sh"
cd "$checkout"

step "programs and parts"
quietly "building release programs" cargo build --release --locked -p operator -p testbed
quietly "building the parts of a control plane" target/release/testbed build
use_clients

step "measuring"
export HARDENED_OPERATOR=$checkout/target/release/hardened-operator
table=$(mktemp)
trap 'rm -f "$table"' EXIT
load=$(cut -d ' ' -f 1 /proc/loadavg)
target/release/testbed bench "$@" >"$table"
cat "$table"
(($# == 0)) || exit 0

{
    printf '# What services cost\n\n'
    provenance "make bench" "$load"
    cat "$table" docs/benchmarks/method.md
} >docs/benchmarks.md
note "written to docs/benchmarks.md"
