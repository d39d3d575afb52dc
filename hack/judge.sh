#!/usr/bin/env bash
# Lets tools that nobody here wrote read the chart and the rendered examples. A finding that docs/decisions.md does not
# explain fails it; the summary goes to docs/evidence/judge.md.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
kubeconform=v0.7.0 kubescore=v1.20.0 checkov=3.3.30 schemas=1.37.0
tools=$cache/judges-$kubeconform-$kubescore-$checkov-$schemas

install_tools() {
    local work=$tools.partial
    rm -rf "$work"
    mkdir -p "$work"
    export GOTOOLCHAIN=local GOWORK=off GOBIN=$work
    quietly "building kubeconform" nice go install "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform"
    quietly "building kube-score" nice go install "github.com/zegl/kube-score/cmd/kube-score@$kubescore"
    python3 -m venv "$tools.venv"
    quietly "fetching checkov" "$tools.venv/bin/pip" install --quiet "checkov==$checkov" "kubernetes-validate==$schemas"
    # Strict schemas, their references made relative so that they resolve beside each other.
    cp -r "$tools.venv"/lib/python3*/site-packages/kubernetes_validate/kubernetes-json-schema/v"$schemas"-local-strict \
        "$work/schemas"
    sed -i -e 's#/api/_definitions.json#_definitions.json#g' -e 's#"\$id": "[^"]*"#"$comment": "kubernetes.io"#' \
        "$work"/schemas/*.json
    mv "$work" "$tools"
}

step "tools"
tests/install-debian.sh judge
[[ -d $tools ]] || install_tools
quietly "building the testbed and the plugin" cargo build --locked -p testbed -p cli
target/debug/testbed build
use_clients

step "manifests"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
helm template hardened-operator charts/hardened-operator --namespace hardened-system >"$out/chart.yaml"
cp charts/install.yaml "$out/install.yaml"
for example in examples/*.yaml; do
    target/debug/kubectl-hardened render -f "$example" --namespace studio --allowed-hosts '*.example.com' \
        >"$out/$(basename "$example")"
done

step "judges"
"$tools.venv/bin/python" -B hack/judge.py "$tools" "$out"
