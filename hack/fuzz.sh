#!/usr/bin/env bash
# Looks for inputs that break the properties in api-server/fuzz/properties, for each target 10 minutes; LASTING=60 is a
# minute. It goes on from what it found before. Arguments name targets; with --keep before them, the fewest inputs that
# reach everything that was reached are added to api-server/fuzz/corpus, which a test of the workspace replays.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
lasting=${LASTING:-600}
# Inputs kept for each target, beside those that somebody has written and named.
most=120
keep=
if [[ ${1:-} == --keep ]]; then
    keep=1
    shift
fi
targets=("$@")
(($#)) || targets=(policy forwarded jwt)

tests/install-debian.sh fuzz
version=0.13.2
if [[ ! -x $cache/cargo-fuzz-$version/bin/cargo-fuzz ]]; then
    quietly "building cargo-fuzz $version" cargo install --quiet --locked --root "$cache/cargo-fuzz-$version" "cargo-fuzz@$version"
fi
PATH=$cache/cargo-fuzz-$version/bin:$PATH
cargo +nightly --version >/dev/null 2>&1 || quietly "installing nightly Rust" rustup toolchain install nightly --profile minimal
cp Cargo.lock api-server/fuzz/Cargo.lock

# Our code has no `unsafe`, and with AddressSanitizer the dependencies take many times as long to build.
options=(--fuzz-dir api-server/fuzz --target-dir target/fuzz --sanitizer none)
quietly "building the targets with nightly Rust" cargo +nightly fuzz build "${options[@]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in "${targets[@]}"; do
    step "$target: $lasting s"
    found=$cache/fuzz/$target
    mkdir -p "$found"
    arguments=(-max_total_time="$lasting" -max_len=4096 -timeout=10 -print_final_stats=1
        -dict="api-server/fuzz/dictionaries/$target")
    cargo +nightly fuzz run "${options[@]}" "$target" "$found" "api-server/fuzz/corpus/$target" -- "${arguments[@]}" \
        >"$log" 2>&1 || die "$target: $(grep -v '^#' "$log" | tail -40)"
    awk -v target="$target" '
        /^Done / { runs = $2; lasting = $5 }
        /^#.* cov: / {
            for (i = 1; i < NF; i++) value[$i] = $(i + 1)
            edges = value["cov:"]
            inputs = value["corp:"]
            sub("/.*", "", inputs)
        }
        END { printf "SOAK fuzz %s: %d executions in %d s, nothing found; %d edges reached by %s inputs\n", target, runs, lasting, edges, inputs }
    ' "$log"
    [[ -n $keep ]] || continue
    # By edges only: how often one is taken would keep thousands of inputs.
    quietly "adding the least inputs" cargo +nightly fuzz run "${options[@]}" "$target" "api-server/fuzz/corpus/$target" \
        "$found" -- -set_cover_merge=1 -use_counters=0 -max_len=1024
    # It writes what adds most first; a test of every build needs no more than that.
    find "api-server/fuzz/corpus/$target" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -printf '%T@ %p\n' |
        sort -n | tail -n +$((most + 1)) | cut -d ' ' -f 2 | xargs -r rm
    note "$(find "api-server/fuzz/corpus/$target" -type f | wc -l) inputs in the corpus"
done
