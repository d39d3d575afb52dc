#!/usr/bin/env bash
# The long tests: those of each suite that are ignored as "soak", Pod Security with many random services, and fuzzing.
# Needs root and no other node on this host. Arguments name suites, for example rollout or api-server, which needs no
# root; without any it is all of them. A suite that passes writes docs/evidence/soak/SUITE.md.
source "$(dirname "$0")/lib.sh"
cd "$checkout"

suites=("$@")
(($#)) || mapfile -t suites < <(grep -l 'ignore = "soak' tests/tests/*.rs | xargs -n 1 basename -s .rs; echo psa; echo api-server; echo fuzz)

tests/install-debian.sh
step "parts and programs"
for suite in "${suites[@]}"; do
    # Those of the api-server alone need no cluster.
    [[ $suite != api-server && $suite != fuzz ]] || continue
    quietly "building the programs" cargo build --locked --workspace --bins
    target/debug/testbed build
    hack/images.sh api-server
    target/debug/testbed previous
    break
done

commit=$(git rev-parse --short=12 HEAD)
[[ -z $(git status --porcelain -- ':!docs') ]] || commit="$commit with changes"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Tests print what they saw as lines that begin with SOAK.
summary() { # summary SUITE COMMAND
    printf '# What the long test `%s` saw\n\nCommit `%s`, %s cores: `%s`\n\n' "$1" "$commit" "$(nproc)" "${*:2}"
    sed -nE -e 's/^(test .*)?SOAK (.*)/- \2/p' \
        -e 's/^test result: ok\. ([0-9]+) passed.* in (.*)$/- \1 passed in \2/p' "$log"
}

for suite in "${suites[@]}"; do
    # One test at a time: of two that need the node, one would not run.
    case $suite in
    fuzz) command=(hack/fuzz.sh) ;;
    # Memory and times are those of what is delivered.
    api-server) command=(cargo test --release --locked -p api-server --test server -- --ignored --nocapture --test-threads=1) ;;
    psa) command=(env PSA_CASES=10000 cargo test --locked -p testbed --test psa -- --nocapture) ;;
    *) command=(cargo test --locked -p testbed --test "$suite" -- --ignored --nocapture --test-threads=1) ;;
    esac
    step "${command[*]}"
    if "${command[@]}" 2>&1 | tee "$log"; then
        mkdir -p docs/evidence/soak
        summary "$suite" "${command[@]}" >"docs/evidence/soak/$suite.md"
        note "docs/evidence/soak/$suite.md written"
    else
        failed+=("$suite")
    fi
done
[[ -z ${failed:-} ]] || die "failed: ${failed[*]}"
