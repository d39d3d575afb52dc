#!/usr/bin/env bash
# The long tests: those of each suite that are ignored as "soak", and Pod Security with many random services. Needs
# root and no other node on this host. Arguments name suites, for example rollout or api-server, which needs no root;
# without any it is all of them, and docs/evidence/soak.md is written.
source "$(dirname "$0")/lib.sh"
cd "$checkout"

tests/install-debian.sh
step "parts and programs"
quietly "building the programs" cargo build --locked --workspace --bins
# The api-server's own tests need no cluster.
if [[ $* != api-server ]]; then
    target/debug/testbed build
    hack/images.sh api-server
    target/debug/testbed previous
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
    step "$*"
    printf 'RUN %s\n' "$*" >>"$log"
    "$@" 2>&1 | tee -a "$log" || failed=1
}
suites=("$@")
(($#)) || mapfile -t suites < <(grep -l 'ignore = "soak' tests/tests/*.rs | xargs -n 1 basename -s .rs; echo psa; echo api-server; echo fuzz)
# One test at a time: of two that need the node, one would not run.
for suite in "${suites[@]}"; do
    case $suite in
    fuzz) run hack/fuzz.sh ;;
    # Memory and times are those of what is delivered.
    api-server) run cargo test --release --locked -p api-server --test server -- --ignored --nocapture --test-threads=1 ;;
    psa) run env PSA_CASES=10000 cargo test --locked -p testbed --test psa -- --nocapture ;;
    *) run cargo test --locked -p testbed --test "$suite" -- --ignored --nocapture --test-threads=1 ;;
    esac
done
[[ -z ${failed:-} ]] || die "a long test failed"

# Tests print what they saw as lines that begin with SOAK.
summary() {
    printf '# What the long tests saw\n\n'
    printf 'Commit `%s`, command `%s`, %s cores.\n' "$(git rev-parse --short=12 HEAD)" \
        "$( (($#)) && echo "hack/soak.sh $*" || echo make soak)" "$(nproc)"
    sed -nE -e 's/^RUN (.*)/\n## `\1`\n/p' -e 's/^(test .*)?SOAK (.*)/- \2/p' \
        -e 's/^test result: ok\. ([0-9]+) passed.* in (.*)$/- \1 passed in \2/p' "$log"
}
if (($#)); then
    summary "$@"
else
    summary >docs/evidence/soak.md
    note "docs/evidence/soak.md written"
fi
