#!/usr/bin/env bash
# Every check that a change must pass; CI runs exactly this. Cheap checks first, so that a slip shows early.
source "$(dirname "$0")/lib.sh"
cd "$checkout"

step "Debian packages"
tests/install-debian.sh
step "parts of the testbed"
quietly "building the testbed" cargo build --locked -p testbed
target/debug/testbed build
use_clients

step "format"
cargo fmt --all --check
step "clippy"
cargo clippy --locked --workspace --all-targets -- -D warnings
step "licences and bans"
hack/deny.sh
step "chart"
helm lint --strict --quiet charts/hardened-operator
hack/manifests.sh --check

step "programs that the tests start"
cargo build --locked --workspace --bins
hack/queries.sh --check
hack/images.sh --quick
target/debug/testbed previous
step "tests"
# A failure says what was seen; a hundred lines of stack would only push it out of sight.
export RUST_BACKTRACE=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$log" || failed=1

# libtest times whole test files; a file holds one question, so this is where to look.
step "ten slowest test files"
awk '/^ +Running .*\(/ { name = $2 == "unittests" ? $3 " " $4 : $2 " " $3 }
     /^ +Doc-tests / { name = "doc-tests of " $2 }
     /^test result:/ { split($0, part, "finished in "); printf "%9s  %s\n", part[2], name }' "$log" |
    sed -E 's/ \(.*deps\/(.*)-[0-9a-f]+\)$/ (\1)/' | sort -rn | sed -n 1,10p # not head, which may end before sort has written
awk '/^test result:/ { ok += $4; bad += $6; left += $8 }
     END { printf "\ntotal: %d passed, %d failed, %d skipped\n", ok, bad, left }' "$log"
if [[ -n ${failed:-} ]]; then
    step "what failed"
    awk '/^---- .* stdout ----$/ { left = 40; print ""; } /^failures:$/ { left = 0 } left-- > 0' "$log" | cut -c 1-300
    exit 1
fi
