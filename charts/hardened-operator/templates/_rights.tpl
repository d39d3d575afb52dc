{{/* Where the operator works: read what services are made of. No Secrets, and no writes besides status, events and the finalizer. A test
     compares this with what the operator asks for: nothing more. */}}
{{- define "operator.watchRules" -}}
- apiGroups: [hardened.dev]
  resources: [hardenedservices]
  verbs: [list, watch]
- apiGroups: [hardened.dev]
  resources: [hardenedservices/status]
  verbs: [patch]
{{- if .Values.settings.vaultConnections }}
# The finalizer of services whose certificate Vault is to revoke. RBAC cannot narrow it to that field.
- apiGroups: [hardened.dev]
  resources: [hardenedservices]
  verbs: [patch]
{{- end }}
# Where the admission plugin OwnerReferencesPermissionEnforcement runs (OpenShift), owner references need this.
- apiGroups: [hardened.dev]
  resources: [hardenedservices/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [serviceaccounts, configmaps, services]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
{{- if (.Values.settings.certManager).issuers }}
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [list, watch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
