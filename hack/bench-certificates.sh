#!/usr/bin/env bash
# Measures what certificates cost beside the services that they are for, on control planes of its own, in about six
# minutes, and writes docs/benchmarks/certificates.md. The machine should do nothing else meanwhile. Arguments go to
# `testbed bench-certificates`; with any, the file is left alone.
source "$(dirname "$0")/lib.sh"
cd "$checkout"

measure bench-certificates "$@"
{
    printf '# What certificates cost\n\n'
    provenance "make bench-certificates" "$load"
    cat "$table" docs/benchmarks/certificates-method.md
} >docs/benchmarks/certificates.md
note "written to docs/benchmarks/certificates.md"
