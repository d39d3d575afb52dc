#!/usr/bin/env bash
# Builds the programs of the images as static files, so that each image can be empty besides its program. Arguments
# name the packages; without any it is both. `--list` prints what it would make, `--quick` optimises little: for tests.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
list=
profile=release
[[ ${1:-} != --list ]] || { list=1; shift; }
[[ ${1:-} != --quick ]] || { profile=quick; shift; }
(($#)) || set -- operator api-server
programs=("${@/#operator/hardened-operator}")
if [[ -n $list ]]; then
    printf 'dist/%s\n' "${programs[@]}"
    exit
fi
host=$(rustc -vV | sed -n 's/^host: //p')
# With an explicit target the flag reaches the programs only, not build scripts and proc macros.
export RUSTFLAGS="-C target-feature=+crt-static"
quietly "building $*" cargo build --locked --profile "$profile" --target "$host" "${@/#/--package=}"
mkdir -p dist
for program in "${programs[@]}"; do
    cp "target/$host/$profile/$program" dist/
    note "dist/$program $(du -h "dist/$program" | cut -f1)"
done
