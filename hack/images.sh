#!/usr/bin/env bash
# Builds the programs of the images as static files, so that each image can be empty besides its program.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
host=$(rustc -vV | sed -n 's/^host: //p')
# With an explicit target the flag reaches the programs only, not build scripts and proc macros.
export RUSTFLAGS="-C target-feature=+crt-static"
quietly "building the operator and the api-server" \
    cargo build --locked --release --target "$host" -p operator -p api-server
mkdir -p dist
for program in hardened-operator api-server; do
    cp "target/$host/release/$program" dist/
    note "dist/$program $(du -h "dist/$program" | cut -f1)"
done
