{{- /* The pods of every workload. `.` is the context of the chart. */ -}}
{{- define "dr-exporter.pod" -}}
{{- $data := include "dr-exporter.data" . -}}
metadata:
  labels:
    {{- include "dr-exporter.selector" . | nindent 4 }}
    {{- with .set }}
    dr-exporter/set: {{ . }}
    {{- end }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "dr-exporter.serviceAccount" . }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  terminationGracePeriodSeconds: 15
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  containers:
    - name: dr-exporter
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
        - --config.file=/etc/dr-exporter/config.yaml
        # A changed configuration is read without a restart; one with errors changes nothing.
        - --config.watch
        - --storage.path=/data
        - --web.listen-address=:9877
        {{- if eq .Values.storage.backend "jetstream" }}
        - --storage.backend=jetstream
        - --storage.nats={{ .Values.storage.nats }}
        - --storage.stream={{ .Values.storage.stream }}{{ if .set }}_$(POD_INDEX){{ end }}
        - --storage.stream-replicas={{ .Values.storage.streamReplicas }}
        - --storage.replica=$(POD_NAME)
        {{- end }}
        {{- if .set }}
        - --shard=$(POD_INDEX)
        - --total-shards={{ .Values.shards }}
        {{- range include "dr-exporter.peers" . | splitList "\n" }}
        {{- if . }}
        - --web.peers={{ . }}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- range .Values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      {{- if or .set (eq .Values.storage.backend "jetstream") }}
      env:
        {{- if eq .Values.storage.backend "jetstream" }}
        - name: POD_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        {{- end }}
        {{- if .set }}
        - name: POD_INDEX
          valueFrom: { fieldRef: { fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']" } }
        {{- end }}
      {{- end }}
      ports:
        - { name: metrics, protocol: TCP, containerPort: 9877 }
      # It is alive while the engine ticks, and ready once every check has run.
      livenessProbe:
        httpGet: { path: /-/healthy, port: metrics{{ if eq .Values.scheme "HTTPS" }}, scheme: HTTPS{{ end }} }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 3
      readinessProbe:
        httpGet: { path: /-/ready, port: metrics{{ if eq .Values.scheme "HTTPS" }}, scheme: HTTPS{{ end }} }
        periodSeconds: 5
        timeoutSeconds: 3
      {{- with .Values.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: config, mountPath: /etc/dr-exporter, readOnly: true }
        - { name: {{ $data }}, mountPath: /data }
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.affinity }}
  affinity: {{- toYaml .Values.affinity | nindent 4 }}
  {{- else if gt (mul .Values.replicas .Values.shards) 1 }}
  {{- include "dr-exporter.spread" . | nindent 2 }}
  {{- end }}
  volumes:
    - name: config
      projected:
        sources:
          - configMap: { name: {{ include "dr-exporter.fullname" . }}-config }
          {{- range .Values.existingSecrets }}
          - secret: { name: {{ . }}, optional: true }
          {{- end }}
          {{- with .Values.extraSources }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
    {{- if eq $data "scratch" }}
    - name: scratch
      emptyDir: {}
    {{- else if not .set }}
    - name: data
      persistentVolumeClaim: { claimName: {{ .Values.persistence.existingClaim | default (include "dr-exporter.fullname" .) }} }
    {{- end }}
{{- end }}
