#!/usr/bin/env bash
# Shows the product on a real cluster, from nothing to attacks that are undone. CONTEXT=name uses a cluster of yours;
# then OPERATOR_IMAGE and APP_IMAGE name images that it can pull, and the steps with a database are left out.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/demo-database.sh"
cd "$checkout"
command -v curl >/dev/null || die "curl is missing; install it"
namespace=studio
work=$(mktemp -d)
forward=
trap '[[ -z $forward ]] || kill "$forward" 2>/dev/null; rm -rf "$work"' EXIT

own_cluster() {
    command -v openssl >/dev/null || die "openssl is missing; install it"
    tests/install-debian.sh
    quietly "building the testbed and the plugin" cargo build --locked -p testbed -p cli
    hack/images.sh
    step "a cluster: etcd, Kubernetes 1.37, containerd and one node, all real"
    # `up` needs no kubectl and helm, the rest of this script does.
    target/debug/testbed build
    target/debug/testbed up
    use_clients
    KUBECONFIG=$(realpath "${TESTBED_STATE:-.testbed}")/kubeconfig
    export KUBECONFIG
    operator_image=$(target/debug/testbed image load hardened-operator:demo dist/hardened-operator)
    app_image=$(target/debug/testbed image load studio:demo dist/api-server)
}

your_cluster() {
    operator_image=${OPERATOR_IMAGE:?name the image of operator/Dockerfile by digest: repository@sha256:...}
    app_image=${APP_IMAGE:?name the image of api-server/Dockerfile by digest: repository@sha256:...}
    quietly "building the plugin" cargo build --locked -p cli
    kubectl config view --minify --flatten --context "$CONTEXT" >"$work/kubeconfig"
    export KUBECONFIG=$work/kubeconfig
}

# A namespace that was there before is somebody's: `make demo-down` would remove it.
make_namespace() {
    if [[ -n $(kubectl get namespace "$1" --ignore-not-found -o name) ]]; then
        [[ $(kubectl get namespace "$1" -o 'jsonpath={.metadata.labels.hardened\.dev/demo}') == true ]] ||
            die "namespace $1 exists and is not the demo's"
        return
    fi
    kubectl create namespace "$1" >/dev/null
    kubectl label namespace "$1" hardened.dev/demo=true pod-security.kubernetes.io/enforce=restricted >/dev/null
}

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

step "programs and images"
if [[ -n ${CONTEXT:-} ]]; then your_cluster; else own_cluster; fi
[[ -z ${CONTEXT:-} ]] || note "the steps with a database are left out: they need the Postgres of a cluster of the demo's own"
PATH=$checkout/target/debug:$PATH
cd "$work"

step "the operator, by helm"
repository=${operator_image%@*}
# A tag before the digest (name:tag@sha256:...) is allowed, but Helm's two values hold name and digest.
[[ ${repository##*/} != *:* ]] || repository=${repository%:*}
make_namespace hardened-system
quietly "helm install" helm upgrade --install hardened-operator "$checkout/charts/hardened-operator" \
    --namespace hardened-system --wait --timeout 2m \
    --set "image.repository=$repository" --set "image.digest=${operator_image#*@}"
show kubectl get pods --namespace hardened-system

step "a namespace: Pod Security restricted, onboarded for one host name"
make_namespace $namespace
show kubectl hardened onboard $namespace --hosts studio.example.com

if [[ -z ${CONTEXT:-} ]]; then
    step "a real Postgres 15 beside the cluster, with TLS, and the Secrets that lead to it"
    start_database
    make_secrets
fi

step "one resource"
sed -E "s#^( *image:).*#\1 $app_image#" "$checkout/examples/studio.yaml" >studio.yaml
grep -v '^ *#' studio.yaml
if [[ -z ${CONTEXT:-} ]]; then
    note "and for the database:"
    database_patch | tee database.yaml
    kubectl patch --local --filename studio.yaml --type merge --patch-file database.yaml --output yaml >patched.yaml
    mv patched.yaml studio.yaml
fi
applied=$SECONDS
show kubectl apply --namespace $namespace -f studio.yaml
quietly "waiting for Ready" kubectl wait --namespace $namespace hsvc/studio --for=condition=Ready --timeout=2m
note "Ready $((SECONDS - applied))s after kubectl apply"
show kubectl get hsvc --namespace $namespace

step "what the operator made of it"
show kubectl get serviceaccounts,networkpolicies,configmaps,secrets,deployments,pods,services,poddisruptionbudgets \
    --namespace $namespace --selector hardened.dev/service=studio

if [[ -z ${CONTEXT:-} ]]; then
    step "the database: hardened by a Job, proven by further ones, again and again"
    show_evidence
fi

step "the app, over TLS with the certificate authority that the operator made"
kubectl get configmap studio-ca --namespace $namespace -o 'jsonpath={.data.ca\.crt}' >ca.crt
kubectl port-forward --namespace $namespace service/studio :443 >forward 2>&1 &
forward=$!
for _ in $(seq 50); do
    port=$(sed -nE 's/^Forwarding from 127.0.0.1:([0-9]+) .*/\1/p' forward)
    [[ -z $port ]] || break
    sleep 0.1
done
[[ -n $port ]] || die "kubectl port-forward: $(cat forward)"
show curl --silent --show-error --fail-with-body --include --max-time 10 --cacert ca.crt \
    --write-out '\n' --resolve "studio.example.com:$port:127.0.0.1" "https://studio.example.com:$port/health"

if [[ -z ${CONTEXT:-} ]]; then
    step "the app's routes, on that database"
    use_app "$port"
    step "somebody turns the database's audit off"
    turn_audit_off
fi

step "somebody adds a container by hand"
# One that Pod Security lets through, so that it would run if nobody undid it.
security='{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}'
sidecar="{\"name\":\"miner\",\"image\":\"$app_image\",\"securityContext\":$security}"
containers() { kubectl get deployment studio --namespace $namespace -o 'jsonpath={.spec.template.spec.containers[*].name}'; }
before=$(containers)
begin=$(date +%s%3N)
show kubectl patch deployment studio --namespace $namespace --type json \
    --patch "[{\"op\":\"add\",\"path\":\"/spec/template/spec/containers/-\",\"value\":$sidecar}]"
for _ in $(seq 100); do
    [[ $(containers) != "$before" ]] || break
    sleep 0.05
done
[[ $(containers) == "$before" ]] || die "the added container is still there: $(containers)"
note "gone within $(($(date +%s%3N) - begin)) ms; containers now: $(containers)"
# The event is written after the correction.
for _ in $(seq 50); do
    kubectl events --namespace $namespace --for hardenedservice/studio >events
    if grep -q kubectl-patch events; then break; fi
    sleep 0.1
done
printf '\n$ kubectl events --namespace %s --for hardenedservice/studio\n' $namespace
cat events
grep -q kubectl-patch events || die "no event says who changed the Deployment"

step "done"
if [[ -z ${CONTEXT:-} ]]; then
    note "the cluster stays: export KUBECONFIG=$KUBECONFIG; make demo-down removes it"
else
    note "make demo-down CONTEXT=$CONTEXT removes what was installed"
fi
