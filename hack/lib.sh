# shellcheck shell=bash disable=SC2034
# Functions that the scripts of this folder share. It is sourced, and does nothing by itself.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TESTBED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hardened-testbed}
# Every line tells how long the whole command has run, also in a script that another script calls.
export STARTED=${STARTED:-$(date +%s)}
SECONDS=$(($(date +%s) - STARTED))
step() { printf '\n[%3ds] %s\n' "$SECONDS" "$*"; }
note() { printf '[%3ds]   %s\n' "$SECONDS" "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# A background command of a script does not get the terminal's Ctrl-C, so it is passed on.
child=
trap '[[ -z $child ]] || kill "$child" 2>/dev/null; exit 130' INT TERM

# Runs a command that prints little, with a line every 5 seconds; what it printed is shown when it fails.
quietly() {
    local what=$1 log begin=$SECONDS
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1 &
    child=$!
    local said=$SECONDS
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - said >= 5)); then
            note "$what ... $((SECONDS - begin))s"
            said=$SECONDS
        fi
    done
    if ! wait "$child"; then
        cat "$log" >&2
        rm -f "$log"
        die "$what failed: $*"
    fi
    rm -f "$log"
    child=
}

# The testbed's own kubectl and helm first in PATH, so that a machine without them has the pinned ones.
use_clients() {
    local clients
    clients=$(find "$cache" -maxdepth 1 -name 'clients-*' -type d -printf '%T@ %p\n' 2>/dev/null | sort -rn | head -1)
    [[ -n $clients ]] || die "no kubectl and helm in $cache; run: cargo run -p testbed -- build"
    PATH=${clients#* }:$PATH
}

# Measures by a release build on control planes of its own: the table is then in the file $table, and $load tells how busy
# the machine was before. With arguments it is for the reader alone, and the script ends.
measure() { # measure SUBCOMMAND [ARGUMENT...]
    step "programs and parts"
    quietly "building release programs" cargo build --release --locked -p operator -p testbed
    quietly "building the parts of a control plane" target/release/testbed build
    use_clients
    step "measuring"
    export HARDENED_OPERATOR=$checkout/target/release/hardened-operator
    table=$(mktemp)
    trap 'rm -f "$table"' EXIT
    load=$(cut -d ' ' -f 1 /proc/loadavg)
    target/release/testbed "$@" >"$table"
    cat "$table"
    (($# == 1)) || exit 0
}

# The paragraph above a table of figures: which commit, on which machine, how busy it was.
provenance() { # provenance COMMAND LOAD
    local commit memory
    commit=$(git rev-parse --short=12 HEAD)
    [[ -z $(git status --porcelain -- ':!docs') ]] || commit="$commit with changes"
    memory=$(awk '/^MemTotal:/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
    cat <<MARKDOWN
Commit \`$commit\`, command \`$1\`, $(date -u +%F), $(nproc) cores, $memory GiB, load $2 before it began. Where runs differ:
smallest / median / largest of 3.

MARKDOWN
}
