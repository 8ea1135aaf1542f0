{{- define "dr-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- define "dr-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains (include "dr-exporter.name" .) .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "dr-exporter.name" .) | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "dr-exporter.selector" -}}
app.kubernetes.io/name: {{ include "dr-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dr-exporter.labels" -}}
{{ include "dr-exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "dr-exporter.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "dr-exporter.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /*
The name of the Roles. They stand in namespaces that other releases read too, which may have the same
name in another namespace.
*/ -}}
{{- define "dr-exporter.role" -}}
{{ include "dr-exporter.fullname" . }}.{{ .Release.Namespace }}
{{- end }}

{{- /*
The labels of the chart with others, which win. `.` is a list of both.
*/ -}}
{{- define "dr-exporter.labelled" -}}
{{- $labels := include "dr-exporter.labels" (index . 0) | fromYaml }}
{{- merge (deepCopy (index . 1 | default dict)) $labels | toYaml }}
{{- end }}

{{- /* The configuration as text. */ -}}
{{- define "dr-exporter.config" -}}
{{- if not .Values.config }}
{{- fail "set `config`: --set-file config=config.yaml (see docs/getting-started.md)" }}
{{- end }}
{{- if kindIs "string" .Values.config }}
{{- with (fromYaml .Values.config).Error }}
{{- fail (printf "the configuration cannot be read: %s" .) }}
{{- end }}
{{- .Values.config }}
{{- else }}
{{- toYaml .Values.config }}
{{- end }}
{{- end }}

{{- /*
The rights that the configuration needs in this cluster, one per line:
NAMESPACE|ORDER|GROUP|RESOURCE|VERB|NAME. A test compares them with `dr-exporter config rbac`.
*/ -}}
{{- define "dr-exporter.rights" -}}
{{- $config := include "dr-exporter.config" . | fromYaml }}
{{- $secrets := .Values.rbac.secretNames }}
{{- $here := list }}
{{- range $name, $connection := $config.kubernetes }}
{{- if $connection.in_cluster }}
{{- if $connection.impersonate_user }}
{{- fail (printf "the connection %s acts as another user: set rbac.create=false, and apply what `dr-exporter config rbac` prints" $name) }}
{{- end }}
{{- $here = append $here $name }}
{{- end }}
{{- end }}
{{- $checks := list }}
{{- range $config.contracts }}{{ range .checks }}{{ $checks = append $checks . }}{{ end }}{{ end }}
{{- range $config.triggers }}{{ with .pods }}{{ $checks = append $checks (dict "pods" .) }}{{ end }}{{ end }}
{{- range $checks }}
{{- with .external_secret }}
{{- if or (has .dr $here) (has .primary $here) }}
{{ .namespace }}|1|external-secrets.io|externalsecrets|get|{{ .name }}
{{- if eq (.compare | default (ternary "data_hash" "freshness" (hasKey . "primary"))) "data_hash" }}
{{ .namespace }}|2||secrets|get|{{ get $secrets (printf "%s/%s" .namespace .name) | default .name }}
{{- end }}
{{- end }}
{{- end }}
{{- with .argocd_app }}
{{- if has .kubernetes $here }}
{{ .namespace }}|3|argoproj.io|applications|get|{{ .name }}
{{- end }}
{{- $dr := . }}
{{- with .primary }}
{{- if has .kubernetes $here }}
{{ .namespace | default $dr.namespace }}|3|argoproj.io|applications|get|{{ .name | default $dr.name }}
{{- end }}
{{- end }}
{{- end }}
{{- with .pods }}
{{- if has .kubernetes $here }}
{{ .namespace }}|4||pods|list|
{{- $namespace := .namespace }}
{{- with .workload }}
{{ $namespace }}|{{ ternary 5 6 (eq .kind "Deployment") }}|apps|{{ lower .kind }}s|get|{{ .name }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /*
The port that a URL or an address leads to, as PROTOCOL|PORT. `of` is the text, `port` the default for
those that name none. The API server of this cluster is behind a Service, and most network plug-ins see
the port of its pod: 6443.
*/ -}}
{{- define "dr-exporter.port" -}}
{{- $place := regexReplaceAll "^[A-Za-z][A-Za-z0-9+.-]*://" (toString .of) "" | regexFind "^[^/?#]*" | regexFind "[^@]*$" }}
{{- $named := regexFind "^(\\[.*\\]|[^:]*):[0-9]+$" $place | regexFind "[0-9]+$" }}
TCP|{{ $named | default .port }}
{{- if regexMatch "(?i)^kubernetes(\\.default(\\.svc(\\.[a-z0-9.-]*)?)?)?(:[0-9]+)?$" $place }}
TCP|6443
{{- end }}
{{- end }}

{{- /* The same for a URL of HTTP. */ -}}
{{- define "dr-exporter.httpPort" -}}
{{- include "dr-exporter.port" (dict "of" . "port" (ternary 80 443 (regexMatch "(?i)^http:" (toString .)))) }}
{{- end }}

{{- /*
The ports that the configuration connects to, one per line as PROTOCOL|PORT. A test compares the defaults
with those of the program.
*/ -}}
{{- define "dr-exporter.ports" -}}
{{- $config := include "dr-exporter.config" . | fromYaml -}}
UDP|53
TCP|53
{{- range $config.nats }}{{ range .servers }}
{{- include "dr-exporter.port" (dict "of" . "port" 4222) }}
{{- end }}{{ end }}
{{- range $config.prometheus }}
{{- include "dr-exporter.httpPort" .url }}
{{- end }}
{{- range $config.contracts }}{{ range .checks }}
{{- with .http }}
{{- $of_url := include "dr-exporter.httpPort" .url }}
{{- with .connect_to }}
{{- /* Its own port, or that of the URL. */ -}}
{{- include "dr-exporter.port" (dict "of" . "port" (regexFind "[0-9]+" $of_url)) }}
{{- else }}
{{- $of_url }}
{{- end }}
{{- end }}
{{- with .dns }}{{ range .resolvers }}
{{- $named := include "dr-exporter.port" (dict "of" . "port" (ternary 853 53 (hasPrefix "tls://" .))) }}
{{- $named }}
{{- if not (regexMatch "^(tcp|tls)://" .) }}
{{- replace "TCP" "UDP" $named }}
{{- end }}
{{- end }}{{ end }}
{{- with .grafana_dashboards }}
{{- include "dr-exporter.httpPort" .url }}
{{- with .primary }}{{ include "dr-exporter.httpPort" .url }}{{ end }}
{{- end }}
{{- with .argocd_app }}{{ with .api }}
{{- include "dr-exporter.httpPort" .url }}
{{- end }}{{ end }}
{{- end }}{{ end }}
{{- if $config.kubernetes }}
TCP|443
TCP|6443
{{- end }}
{{- range .Values.networkPolicy.extraPorts }}
TCP|{{ . }}
{{- end }}
{{- end }}

{{- /* Whether there is a PodDisruptionBudget. */ -}}
{{- define "dr-exporter.disrupted" -}}
{{- and .Values.podDisruptionBudget.enabled (gt (mul .Values.replicas .Values.shards) 1) }}
{{- end }}

{{- /* Whether shards, replicas, storage and cluster fit together. */ -}}
{{- define "dr-exporter.fit" -}}
{{- $kubernetes := .Capabilities.KubeVersion.Version }}
{{- if and (gt (int .Values.shards) 1) (semverCompare "<1.28-0" $kubernetes) }}
{{- fail (printf "shards above 1 need Kubernetes 1.28 or later, because each pod takes its number from the label apps.kubernetes.io/pod-index; this is %s" $kubernetes) }}
{{- end }}
{{- if and (eq (include "dr-exporter.disrupted" .) "true") (semverCompare "<1.21-0" $kubernetes) }}
{{- fail (printf "the PodDisruptionBudget needs Kubernetes 1.21 or later, and this is %s: set podDisruptionBudget.enabled=false" $kubernetes) }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (ne .Values.storage.backend "jetstream") }}
{{- fail "replicas above 1 need storage.backend=jetstream: two exporters must not share one file" }}
{{- end }}
{{- if and (eq .Values.storage.backend "jetstream") (not .Values.storage.nats) }}
{{- fail "storage.backend=jetstream needs storage.nats: the name of a connection in the section `nats` of the configuration" }}
{{- end }}
{{- if eq .Values.storage.backend "jetstream" }}
{{- $known := keys ((include "dr-exporter.config" . | fromYaml).nats | default dict) | sortAlpha }}
{{- if not (has .Values.storage.nats $known) }}
{{- fail (printf "storage.nats is %q, but the section `nats` of the configuration has no connection of this name; it has: %s" .Values.storage.nats (join ", " $known | default "none")) }}
{{- end }}
{{- end }}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "dr-exporter/set" }}
{{- if hasKey ($.Values.podLabels | default dict) $label }}
{{- fail (printf "podLabels must not have %s: the workload and the Service find their pods by it" $label) }}
{{- end }}
{{- end }}
{{- if and (gt (int .Values.shards) 1) .Values.persistence.existingClaim }}
{{- fail "each shard needs a volume of its own: remove persistence.existingClaim" }}
{{- end }}
{{- end }}

{{- /*
The name of the volume with the state. Volumes of different types have different names, so that an
upgrade can change the type. With the shared storage the state is only a copy.
*/ -}}
{{- define "dr-exporter.data" -}}
{{- ternary "data" "scratch" (and .Values.persistence.enabled (eq .Values.storage.backend "sqlite")) }}
{{- end }}

{{- /* The StatefulSets of the shards, one per line: one for each replica. */ -}}
{{- define "dr-exporter.sets" -}}
{{- $name := include "dr-exporter.fullname" . }}
{{- $sets := list }}
{{- range $replica := until (int .Values.replicas) }}
{{- $sets = append $sets (ternary $name (printf "%s-%c" $name (add 97 $replica)) (eq (int $.Values.replicas) 1)) }}
{{- end }}
{{- join "\n" $sets }}
{{- end }}

{{- /* The URLs of the shards for each other's page, one per line. With more than 64 pods there are none. */ -}}
{{- define "dr-exporter.peers" -}}
{{- $service := printf "%s-shards" (include "dr-exporter.fullname" .) }}
{{- if le (mul .Values.shards .Values.replicas) 64 }}
{{- range $set := include "dr-exporter.sets" . | splitList "\n" }}
{{- range $shard := until (int $.Values.shards) }}
{{ lower $.Values.scheme }}://{{ $set }}-{{ $shard }}.{{ $service }}:9877
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Where pods run if `affinity` does not say it: replicas never on one node, shards rather not. */ -}}
{{- define "dr-exporter.spread" -}}
affinity:
  podAntiAffinity:
    {{- if eq (int .Values.shards) 1 }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "dr-exporter.selector" . | nindent 12 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "dr-exporter.selector" . | nindent 14 }}
    {{- end }}
topologySpreadConstraints:
  - topologyKey: topology.kubernetes.io/zone
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "dr-exporter.selector" . | nindent 8 }}
{{- end }}
