#!/usr/bin/env bash
# Measures what services cost on control planes of its own, in about six minutes, and writes docs/benchmarks.md. The
# machine should do nothing else meanwhile. Arguments go to `testbed bench`; with any, the file is left alone.
source "$(dirname "$0")/lib.sh"
cd "$checkout"

measure bench "$@"

{
    printf '# What services cost\n\n'
    provenance "make bench" "$load"
    cat "$table" docs/benchmarks/method.md
} >docs/benchmarks.md
note "written to docs/benchmarks.md"
