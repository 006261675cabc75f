{{- define "stoker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Names of a component's objects. Arguments: root, component. */}}
{{- define "stoker.name" -}}
{{ include "stoker.fullname" .root }}-{{ .component }}
{{- end -}}

{{- define "stoker.selector" -}}
app.kubernetes.io/name: stoker
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels and annotations of an object. Arguments: root, component, and optionally labels and annotations. */}}
{{- define "stoker.metadata" -}}
{{- $own := include "stoker.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
labels:
  {{- mergeOverwrite dict .root.Values.commonLabels (.labels | default dict) $own | toYaml | nindent 2 }}
{{- with mergeOverwrite dict .root.Values.commonAnnotations (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Arguments: root, image. */}}
{{- define "stoker.image" -}}
{{- $registry := .image.registry | default .root.Values.image.registry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- define "stoker.serviceAccount" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- $account.name | default (ternary (include "stoker.name" .) "default" $account.create) -}}
{{- end -}}

{{/* As the API server knows it. */}}
{{- define "stoker.username" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:{{ include "stoker.serviceAccount" . }}
{{- end -}}

{{/* Where pods run, and as whom. Arguments: root, component. */}}
{{- define "stoker.podSpec" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ include "stoker.serviceAccount" . }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- if $values.priorityClassName }}
priorityClassName: {{ $values.priorityClassName }}
{{- else if .root.Values.priorityClasses.create }}
priorityClassName: {{ include "stoker.fullname" .root }}-control-plane
{{- end }}
securityContext:
  {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if $values.topologySpreadConstraints }}
  {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "stoker.selector" . | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* Labels and annotations of pods. Arguments: root, component. */}}
{{- define "stoker.podMetadata" -}}
{{- $values := index .root.Values .component -}}
labels:
  {{- mergeOverwrite dict .root.Values.commonLabels $values.podLabels (include "stoker.selector" . | fromYaml) | toYaml | nindent 2 }}
{{- with $values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What a container has beside its command and ports. Arguments: root, component. */}}
{{- define "stoker.container" -}}
{{- $values := index .root.Values .component -}}
image: {{ include "stoker.image" (dict "root" .root "image" $values.image) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  {{- with $values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  {{- toYaml $values.containerSecurityContext | nindent 2 }}
{{- end -}}

{{- define "stoker.apiKeySecret" -}}
{{ include "stoker.fullname" . }}-api-key
{{- end -}}

{{- define "stoker.keysSecret" -}}
{{ .Values.apiKeys.existingSecret | default (printf "%s-gateway-keys" (include "stoker.fullname" .)) }}
{{- end -}}

{{- define "stoker.saltSecret" -}}
{{ .Values.gateway.salt.existingSecret | default (printf "%s-gateway-salt" (include "stoker.fullname" .)) }}
{{- end -}}

{{/* A field of a Secret that is in the cluster already, else the given text. Arguments: root, secret, field, else. */}}
{{- define "stoker.kept" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .secret | default dict -}}
{{- with index ($found.data | default dict) .field }}{{ b64dec . }}{{ else }}{{ .else }}{{ end -}}
{{- end -}}

{{/* DNS and the API server. */}}
{{- define "stoker.commonEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Pods of all workers, as NetworkPolicies select them. */}}
{{- define "stoker.workerLabels" -}}
app.kubernetes.io/name: stoker
app.kubernetes.io/component: worker
app.kubernetes.io/managed-by: stoker-operator
{{- end -}}
