#!/usr/bin/env bash
# Writes what is generated from crds/yaml and the chart: the chart's copy of the CRDs, the values in its README.md and
# charts/install.yaml.
# With --check it writes nothing and fails when one of them differs.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
use_clients
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

mkdir "$new/crds"
cp crds/yaml/*.yaml "$new/crds/"
cp -r charts/hardened-operator "$new/chart"
rm -rf "$new/chart/files/crds"
cp -r "$new/crds" "$new/chart/files/crds"

python3 hack/values.py >"$new/README.md"

# Without Helm's own labels and hooks, because whoever applies the file is not Helm.
{
    cat <<'YAML'
# The operator for `kubectl apply --server-side -f`; generated from charts/hardened-operator by `make manifests`.
apiVersion: v1
kind: Namespace
metadata:
  name: hardened-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
YAML
    helm template hardened-operator "$new/chart" --namespace hardened-system --set crds.keep=false --no-hooks |
        sed -e '/^# Source: /d' -e '/^ *helm.sh\/chart:/d' -e '/^ *app.kubernetes.io\/managed-by: Helm$/d'
} >"$new/install.yaml"

if [[ ${1:-} == --check ]]; then
    if ! diff -r "$new/crds" charts/hardened-operator/files/crds || ! diff "$new/install.yaml" charts/install.yaml ||
        ! diff "$new/README.md" charts/hardened-operator/README.md; then
        die "generated files differ from their sources; run: make manifests"
    fi
    exit
fi
rm -rf charts/hardened-operator/files/crds
cp -r "$new/crds" charts/hardened-operator/files/crds
cp "$new/install.yaml" charts/install.yaml
cp "$new/README.md" charts/hardened-operator/README.md
