{{/* CEL: every Secret that a HardenedService names, as a list of its field and its name; call with the object's name. */}}
{{- define "operator.usedSecrets" -}}
{{ . }}.spec.workload.?volumes.orValue([]).filter(v, has(v.secret))
  .map(v, {'field': 'spec.workload.volumes.secret.secretName', 'name': string(v.secret.secretName)})
+ {{ . }}.spec.workload.?imagePullSecrets.orValue([])
  .map(s, {'field': 'spec.workload.imagePullSecrets.name', 'name': string(s.name)})
+ [?{{ . }}.spec.?rateLimits.?store.?redis.?secretRef.?name]
  .map(name, {'field': 'spec.rateLimits.store.redis.secretRef.name', 'name': string(name)})
+ [?{{ . }}.spec.?tls.?issuer.?secret.?name]
  .map(name, {'field': 'spec.tls.issuer.secret.name', 'name': string(name)})
+ {{ . }}.spec.?secrets.?sources.orValue([]).filter(s, has(s.secret))
  .map(s, {'field': 'spec.secrets.sources.secret.name', 'name': string(s.secret.name)})
+ [?{{ . }}.spec.?postgres.?connection.?verifierSecretRef.?name]
  .map(name, {'field': 'spec.postgres.connection.verifierSecretRef.name', 'name': string(name)})
+ [?{{ . }}.spec.?postgres.?tls.?caSecretRef.?name]
  .map(name, {'field': 'spec.postgres.tls.caSecretRef.name', 'name': string(name)})
+ [?{{ . }}.spec.?postgres.?connection.?secretRef.?name]
  .map(name, {'field': 'spec.postgres.connection.secretRef.name', 'name': string(name)})
{{- end }}
