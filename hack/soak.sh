#!/usr/bin/env bash
# The long tests: those of each suite that are ignored as "soak", and Pod Security with many random services. Needs
# root and no other node on this host. Writes docs/evidence/soak.md.
source "$(dirname "$0")/lib.sh"
cd "$checkout"

tests/install-debian.sh
step "parts and programs"
quietly "building the programs" cargo build --locked --workspace --bins
target/debug/testbed build
hack/images.sh api-server

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
    step "$*"
    printf 'RUN %s\n' "$*" >>"$log"
    "$@" 2>&1 | tee -a "$log" || failed=1
}
for file in $(grep -l 'ignore = "soak' tests/tests/*.rs); do
    run cargo test --locked -p testbed --test "$(basename "$file" .rs)" -- --ignored --nocapture
done
run env PSA_CASES=10000 cargo test --locked -p testbed --test psa -- --nocapture
[[ -z ${failed:-} ]] || die "a long test failed"

# Tests print what they saw as lines that begin with SOAK.
{
    printf '# What the long tests saw\n\n'
    printf 'Commit `%s`, command `make soak`, %s cores.\n' "$(git rev-parse --short=12 HEAD)" "$(nproc)"
    sed -nE -e 's/^RUN (.*)/\n## `\1`\n/p' -e 's/^(test .*)?SOAK (.*)/- \2/p' \
        -e 's/^test ([a-z0-9_]+) \.\.\. ok$/- passed: \1/p' -e 's/^test result: ok\. ([0-9]+) passed.* in (.*)$/- \1 passed in \2/p' "$log"
} >docs/evidence/soak.md
note "docs/evidence/soak.md written"
