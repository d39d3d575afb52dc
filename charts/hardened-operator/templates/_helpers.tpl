{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "operator.ownLabels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hardened-service
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Nobody's label replaces one of ours: the selectors rest on them. */}}
{{- define "operator.labels" -}}
{{- merge (include "operator.ownLabels" . | fromYaml) .Values.commonLabels | toYaml -}}
{{- end }}

{{/* The last lines of an object's metadata; nothing when there is nothing to say. */}}
{{- define "operator.annotations" }}
{{- with .Values.commonAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* The same for an object that exists during a hook only; call with (list . "pre-delete" "0"). */}}
{{- define "operator.hook" }}
{{- $hook := dict "helm.sh/hook" (index . 1) "helm.sh/hook-weight" (index . 2) "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" }}
  annotations: {{- merge $hook (index . 0).Values.commonAnnotations | toYaml | nindent 4 }}
{{- end }}

{{/* Labels of a pod that is not the operator's own; call with (list . "uninstall"). */}}
{{- define "operator.podLabels" -}}
{{- merge (dict "hardened.dev/component" (index . 1) "app.kubernetes.io/component" (index . 1)) (include "operator.labels" (index . 0) | fromYaml) | toYaml -}}
{{- end }}

{{- define "operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "operator.pullPolicy" -}}
{{- .Values.image.pullPolicy | default (ternary "IfNotPresent" "Always" (ne .Values.image.digest "")) -}}
{{- end }}

{{/* The prober's pods live beside the operator, so their default follows the release's namespace. */}}
{{- define "operator.settings" -}}
{{- $prober := dict "namespaceLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace) "podLabels" (dict "app.kubernetes.io/component" "prober") -}}
{{- $operator := dict "namespaceLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace) "podLabels" (dict "hardened.dev/component" "operator") -}}
{{- $jobs := dict "image" (include "operator.image" .) -}}
{{- merge (deepCopy .Values.settings) (dict "prober" (list $prober $operator) "jobs" $jobs) | toYaml -}}
{{- end }}

{{/* One Lease for the whole cluster, wherever the operator is installed; with listed namespaces one for each release. */}}
{{- define "operator.leaseNamespace" -}}
{{- .Values.leaderElection.namespace | default (ternary .Release.Namespace "kube-system" (not (empty .Values.namespaces))) -}}
{{- end }}

{{/* One NetworkPolicy peer from a peer of the settings. */}}
{{- define "operator.peer" -}}
namespaceSelector:
  matchLabels: {{- toYaml .namespaceLabels | nindent 4 }}
{{- with .podLabels }}
podSelector:
  matchLabels: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* Binds a ClusterRole of this chart in the listed namespaces, or everywhere; call with
     (dict "root" . "role" NAME "account" SERVICEACCOUNT "annotations" TEXT). */}}
{{- define "operator.bind" }}
{{- range .root.Values.namespaces | default (list "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (ne . "") }}
metadata:
  name: {{ $.role }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "operator.labels" $.root | nindent 4 }}
  {{- $.annotations }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $.role }}
subjects:
  - kind: ServiceAccount
    name: {{ $.account }}
    namespace: {{ $.root.Release.Namespace }}
{{- end }}
{{- end }}
