#!/usr/bin/env bash
# Builds the programs of the images as static files, so that each image can be empty besides its program. Arguments
# name the packages; without any it is both.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
host=$(rustc -vV | sed -n 's/^host: //p')
# With an explicit target the flag reaches the programs only, not build scripts and proc macros.
export RUSTFLAGS="-C target-feature=+crt-static"
(($#)) || set -- operator api-server
quietly "building $*" cargo build --locked --release --target "$host" "${@/#/--package=}"
mkdir -p dist
for package in "$@"; do
    program=${package/#operator/hardened-operator}
    cp "target/$host/release/$program" dist/
    note "dist/$program $(du -h "dist/$program" | cut -f1)"
done
