{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "operator.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hardened-service
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The prober's pods live beside the operator, so their default follows the release's namespace. */}}
{{- define "operator.settings" -}}
{{- $prober := dict "namespaceLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace) "podLabels" (dict "app.kubernetes.io/component" "prober") -}}
{{- merge (deepCopy .Values.settings) (dict "prober" (list $prober)) | toYaml -}}
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
