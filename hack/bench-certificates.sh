#!/usr/bin/env bash
# Measures what certificates cost beside the services that they are for, on control planes of its own, in about six
# minutes, and writes docs/benchmarks/certificates.md. The machine should do nothing else meanwhile. Arguments go to
# `testbed bench-certificates`; with any, the file is left alone.
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
target/release/testbed bench-certificates "$@" >"$table"
cat "$table"
(($# == 0)) || exit 0
{
    printf '# What certificates cost\n\n'
    provenance "make bench-certificates" "$load"
    cat "$table" docs/benchmarks/certificates-method.md
} >docs/benchmarks/certificates.md
note "written to docs/benchmarks/certificates.md"
