#!/usr/bin/env bash
# Lets tools that nobody here wrote read the OpenAPI document and look at the running api-server. A finding that
# docs/decisions.md does not explain fails it; the summary goes to docs/evidence/judge-api.md.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
spectral=6.16.3 owasp=2.0.1 redocly=2.77.0 observatory=1.4.8 sslyze=6.3.1 drheader=3.0.4 shcheck=1.7
tools=$cache/judges-api-$spectral-$owasp-$redocly-$observatory-$sslyze-$drheader-$shcheck
host=studio.example

install_tools() {
    local work=$tools.partial
    rm -rf "$work"
    mkdir -p "$work"
    python3 -m venv "$tools.venv"
    quietly "fetching sslyze, drheaderplus and shcheck" "$tools.venv/bin/pip" install --quiet \
        "sslyze==$sslyze" "drheaderplus==$drheader" "shcheck==$shcheck"
    echo '{}' >"$work/package.json"
    quietly "fetching spectral, redocly and Observatory" npm install --prefix "$work" --ignore-scripts --no-audit --no-fund \
        "@stoplight/spectral-cli@$spectral" "@stoplight/spectral-owasp-ruleset@$owasp" "@redocly/cli@$redocly" \
        "@mdn/mdn-http-observatory@$observatory"
    echo '{"extends": ["spectral:oas", "@stoplight/spectral-owasp-ruleset"]}' >"$work/ruleset.json"
    # Its own script would download the names that browsers know to be HTTPS only; none of them is ours.
    echo '{}' >"$work/node_modules/@mdn/mdn-http-observatory/conf/hsts-preload.json"
    mv "$work" "$tools"
}

# A certificate as a public authority would sign it; some judges refuse one that lacks an extension.
certificate() {
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    openssl req -x509 "${key[@]}" -days 90 -subj "/CN=judges" -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$dir/ca.key" -out "$dir/ca.crt"
    mkdir "$dir/tls"
    openssl req "${key[@]}" -subj "/CN=$host" -keyout "$dir/tls/tls.key" -out "$dir/request"
    openssl x509 -req -in "$dir/request" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 90 -out "$dir/tls/tls.crt" \
        -extfile <(printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
            extendedKeyUsage=serverAuth subjectKeyIdentifier=hash authorityKeyIdentifier=keyid "subjectAltName=DNS:$host")
}

step "tools"
tests/install-debian.sh judge
[[ -d $tools ]] || install_tools
quietly "building the api-server" cargo build --locked -p api-server

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
certificate 2>"$dir/openssl.log" || die "no certificate: $(cat "$dir/openssl.log")"
echo "{\"version\": 1, \"trustedHosts\": [\"$host\"]}" >"$dir/policy.json"
echo "127.0.0.1 localhost $host" >"$dir/hosts"

step "judges of the api-server (testssl takes some minutes)"
# A network of its own: judges ask for port 443 of a host with a name, and nothing that they send can leave.
root=()
((EUID == 0)) || root=(--map-root-user)
unshare --net --mount "${root[@]}" bash -euc '
    ip link set lo up
    mount --bind "$1/hosts" /etc/hosts
    exec "$2.venv/bin/python" -B hack/judge-api.py "$3" target/debug/api-server "$2" "$1"' judges "$dir" "$tools" "$host"
