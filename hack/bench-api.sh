#!/usr/bin/env bash
# Measures what the api-server's stack costs, beside bare actix-web, FastAPI and nginx in one run, each with one worker on
# one processor and wrk on another. It takes about eight minutes and writes docs/benchmarks/api.md.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
rounds=${ROUNDS:-3}
seconds=${LASTING:-5}
connections=64

step "programs"
tests/install-debian.sh bench
quietly "building release programs" cargo build --release --locked -p api-server -p bench-bare --bins
python3 -m venv "$cache/bench-venv"
quietly "installing FastAPI" "$cache/bench-venv/bin/pip" install -q -r tests/bench/requirements.txt

dir=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT
port=18080
chmod 755 "$dir"
cat >"$dir/policy.json" <<'JSON'
{"version": 1, "trustedHosts": ["127.0.0.1"], "rateLimits": {"default": {"requests": 100000, "period": "1s"}}}
JSON
sed -e "s|DIR|$dir|g" -e "s|PORT|$port|" tests/bench/nginx.conf >"$dir/nginx.conf"
mkdir "$dir/tls"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$dir/tls/tls.key" -out "$dir/tls/tls.crt" 2>/dev/null

# Starts one of the servers on processor 0, with its log in a file.
serve() {
    local name=$1
    local tls=()
    [[ $1 != *-tls ]] || tls=(TLS_DIR="$dir/tls")
    local settings=(API_BIND=127.0.0.1:$port METRICS_BIND=127.0.0.1:0 ENVIRONMENT=production WORKERS=1)
    [[ $1 != bare-lines ]] || settings+=(LINES=ours)
    case ${1%-*} in
    ours) set -- env "${settings[@]}" "${tls[@]}" POLICY_FILE="$dir/policy.json" target/release/api-server ;;
    bare) set -- env "${settings[@]}" "${tls[@]}" target/release/bench-bare ;;
    fastapi) set -- "$cache/bench-venv/bin/uvicorn" app:app --app-dir tests/bench --port "$port" --workers 1 --no-access-log --no-server-header ;;
    nginx) set -- nginx -c "$dir/nginx.conf" ;;
    esac
    taskset -c 0 "$@" >"$dir/log" 2>&1 &
    server=$!
    local end=$((SECONDS + 20))
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        ((SECONDS < end)) || die "$name does not listen: $(tail -5 "$dir/log")"
        sleep 0.1
    done
}

finish() {
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
}

load() { # load URL CONNECTIONS SECONDS
    taskset -c 1 wrk -t1 -c"$2" -d"$3s" --latency -s tests/bench/report.lua "$1" | tail -1
}

names=(ours bare bare-lines fastapi nginx ours-tls bare-tls)
step "measuring: $rounds rounds of ${#names[@]} servers, $seconds s each"
for ((round = 1; round <= rounds; round++)); do
    for name in "${names[@]}"; do
        serve "$name"
        scheme=http
        [[ $name != *-tls ]] || scheme=https
        load "$scheme://127.0.0.1:$port/" $connections 1 >/dev/null
        figures=$(load "$scheme://127.0.0.1:$port/" $connections "$seconds")
        note "round $round: $name $figures"
        echo "$name $figures" >>"$dir/figures"
        finish
    done
done
serve ours
load "http://127.0.0.1:$port/" 1000 5 >"$dir/thousand" &
sleep 4
memory=$(awk '/^VmRSS:/ { printf "%.1f", $2 / 1024 }' "/proc/$server/status")
wait $!
finish
note "resident at 1,000 connections: $memory MiB"

commit=$(git rev-parse --short=12 HEAD)
[[ -z $(git status --porcelain -- ':!docs') ]] || commit="$commit with changes"
python3 hack/bench-api-table.py "$dir/figures" "$memory" "$commit" "$rounds" "$seconds" "$connections" >docs/benchmarks/api.md
cat docs/benchmarks/api.md
