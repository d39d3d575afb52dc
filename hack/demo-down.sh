#!/usr/bin/env bash
# Removes what hack/demo.sh made: the testbed's cluster with its Postgres, or in a cluster of yours the release and the namespace.
source "$(dirname "$0")/lib.sh"
cd "$checkout"
if [[ -z ${CONTEXT:-} ]]; then
    quietly "building the testbed" cargo build --locked -p testbed
    exec target/debug/testbed down
fi
kube() { kubectl --context "$CONTEXT" "$@"; }
# The services first: while the operator is there, what it made goes with them.
kube delete namespace --selector hardened.dev/demo=true,kubernetes.io/metadata.name=studio --timeout=2m
if [[ -n $(kube get namespace --selector hardened.dev/demo=true,kubernetes.io/metadata.name=hardened-system -o name) ]]; then
    helm --kube-context "$CONTEXT" uninstall hardened-operator --namespace hardened-system --wait --ignore-not-found
    kube delete namespace hardened-system --timeout=2m
    # The resource definition holds everybody's services; it goes only when nobody has one.
    if left=$(kube get hardenedservices --all-namespaces -o name) && [[ -z $left ]]; then
        kube delete crd hardenedservices.hardened.dev --ignore-not-found --timeout=2m
    fi
fi
