#!/bin/sh
# Installs the Debian packages that the testbed needs and that are missing; calls apt-get only then. With the argument
# `bench` also those of `make bench-api`, with `judge` those of `make judge`, with `fuzz` that of hack/fuzz.sh.
# Services that come with them are not started. Run it as root, or as a user who may use sudo.
set -eu

missing=
need() { # need PACKAGE FILE
    [ -e "$2" ] || missing="$missing $1"
}
need runc /usr/sbin/runc
need containernetworking-plugins /usr/lib/cni/ptp
need nftables /usr/sbin/nft
need iproute2 /sbin/ip
need util-linux /usr/bin/nsenter
need skopeo /usr/bin/skopeo
need docker-registry /usr/bin/docker-registry
need postgresql-15 /usr/lib/postgresql/15/bin/initdb
need postgresql-15-pgaudit /usr/lib/postgresql/15/lib/pgaudit.so
need redis-server /usr/bin/redis-server
need nginx-light /usr/sbin/nginx
need libnginx-mod-http-headers-more-filter /usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so
if [ "${1:-}" = bench ]; then
    need wrk /usr/bin/wrk
fi
if [ "${1:-}" = judge ]; then
    need testssl.sh /usr/bin/testssl
    command -v npm >/dev/null || missing="$missing nodejs npm"
fi
if [ -n "${1:-}" ]; then
    need openssl /usr/bin/openssl
    python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
fi
[ "${1:-}" != fuzz ] || need g++ /usr/bin/g++
need ca-certificates /etc/ssl/certs/ca-certificates.crt
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3 python3-pip"

[ -n "$missing" ] || exit 0
echo "installing:$missing" >&2

sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "not root and no sudo: install these packages yourself:$missing" >&2
        exit 1
    }
    sudo=sudo
fi
command -v apt-get >/dev/null || {
    echo "no apt-get here: install what provides these Debian packages:$missing" >&2
    exit 1
}

# A policy file that refuses keeps dpkg from starting services, such as a registry on all addresses.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    trap '$sudo rm -f "$policy"' EXIT
fi
$sudo apt-get update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
# Nor do they start with the next boot: tests start servers of their own.
for package in docker-registry postgresql-15 redis-server nginx-light; do
    service=${package%-15}
    service=${service%-light}
    case "$missing " in *" $package "*) $sudo systemctl disable "$service" 2>/dev/null || true ;; esac
done
