{{- /* The defaults of values that other charts do not have. values.yaml has the same; a test compares them.
With `helm upgrade --reuse-values`, Helm takes the values of the older chart in place of values.yaml, so
values that are newer than that chart are missing. Resources and tolerations are not here: a user removes
them with null, which cannot be told from a missing value. */ -}}
{{- define "cloud-provider-baremetal.defaults" -}}
image: {pullPolicy: IfNotPresent}
loadBalancerClass: lb.baremetal/default
defaultLoadBalancer: true
logFormat: text
ccm: {replicas: 2, priorityClassName: system-cluster-critical}
speaker:
  failover: default
  membersPort: 7946
  heartbeatPort: 7947
  metricsPort: 7472
  healthPort: 7473
  insecureMetrics: false
  closedPorts: reject
  answerPing: true
  spread: auto
  priorityClassName: system-node-critical
admissionPolicy: {enabled: auto}
reportDeadNodes: false
networkPolicy: {enabled: true}
monitoring: {enabled: false}
{{- end }}

{{- /* Writes the defaults into .Values where a value is missing. Every template that reads values begins with it. */ -}}
{{- define "cloud-provider-baremetal.addDefaults" -}}
{{- $values := .Values -}}
{{- range $name, $default := include "cloud-provider-baremetal.defaults" . | fromYaml -}}
{{- if kindIs "invalid" (index $values $name) -}}
{{- $_ := set $values $name $default -}}
{{- else if kindIs "map" $default -}}
{{- $group := index $values $name -}}
{{- range $key, $value := $default -}}
{{- if kindIs "invalid" (index $group $key) -}}
{{- $_ := set $group $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* The image. image.repository can begin with a registry, as in the chart 0.1.0, which had no
image.registry: then this registry counts. A part before the first slash is a registry if it has a dot or
a colon, or is localhost. global.imageRegistry replaces every other registry. */ -}}
{{- define "cloud-provider-baremetal.image" -}}
{{- $image := .Values.image -}}
{{- $registry := $image.registry -}}
{{- $repository := $image.repository -}}
{{- $first := splitList "/" $repository | first -}}
{{- if and (contains "/" $repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $registry = $first -}}
{{- $repository = trimPrefix (printf "%s/" $first) $repository -}}
{{- end -}}
{{- $registry = (.Values.global).imageRegistry | default $registry -}}
{{- $name := empty $registry | ternary $repository (printf "%s/%s" $registry $repository) -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $name $image.digest | quote }}
{{- else -}}
{{ printf "%s:%s" $name ($image.tag | default .Chart.AppVersion) | quote }}
{{- end -}}
{{- end }}

{{- /* imagePullSecrets and global.imagePullSecrets. An entry is {name: NAME}, or only NAME. */ -}}
{{- define "cloud-provider-baremetal.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat ((.Values.global).imagePullSecrets | default list) (.Values.imagePullSecrets | default list) -}}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name")) -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The standard labels. The argument is a list: the context, the name, and the component ("" if
the object belongs to both programs). The selectors have only app.kubernetes.io/name: Kubernetes does
not allow to change them, so with more labels an upgrade from an older chart would fail. */ -}}
{{- define "cloud-provider-baremetal.podLabels" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ $.Release.Name | quote }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
{{- with index . 2 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/part-of: cloud-provider-baremetal
app.kubernetes.io/managed-by: {{ $.Release.Service }}
{{- end }}

{{- /* The pods do not have the version of the chart: a new chart with the same programs restarts
nothing. */ -}}
{{- define "cloud-provider-baremetal.labels" -}}
{{ include "cloud-provider-baremetal.podLabels" . }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "cloud-provider-baremetal.labels.ccm" -}}
{{ include "cloud-provider-baremetal.labels" (list . "baremetal-cloud-controller-manager" "cluster-manager") }}
{{- end }}

{{- define "cloud-provider-baremetal.labels.speaker" -}}
{{ include "cloud-provider-baremetal.labels" (list . "baremetal-speaker" "speaker") }}
{{- end }}

{{- define "cloud-provider-baremetal.labels.all" -}}
{{ include "cloud-provider-baremetal.labels" (list . "cloud-provider-baremetal" "") }}
{{- end }}

{{- /* The Services that are served. Both programs must have the same values. */ -}}
{{- define "cloud-provider-baremetal.scope" -}}
- --load-balancer-class={{ .Values.loadBalancerClass }}
- --default-load-balancer={{ .Values.defaultLoadBalancer }}
{{- end }}

{{- /* The classes as a list in the language of the admission policy. The programs read the value in the
same way: names with commas between them. */ -}}
{{- define "cloud-provider-baremetal.classes" -}}
{{- range $i, $class := splitList "," .Values.loadBalancerClass }}{{ if $i }}, {{ end }}{{ squote $class }}{{ end -}}
{{- end }}

{{- /* auto or off. YAML reads off without quotes as false. */ -}}
{{- define "cloud-provider-baremetal.spread" -}}
{{ ternary "off" "auto" (has (toString .Values.speaker.spread) (list "off" "false")) }}
{{- end }}

{{- /* 85 % of the memory limit. Near that value Go frees memory earlier, so that the kernel
does not end the program. Empty if there is no limit. */ -}}
{{- define "cloud-provider-baremetal.goMemLimit" -}}
{{- with dig "limits" "memory" "" . -}}
{{- $limit := ternary (printf "%.0f" .) (toString .) (kindIs "float64" .) -}}
{{- $number := regexFind "^[0-9]+" $limit -}}
{{- $unit := get (dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824) (trimPrefix $number $limit) -}}
{{- printf "%dMiB" (div (mul $number $unit 85) 104857600) -}}
{{- end -}}
{{- end }}

{{- /* The value config as the text of the ConfigMap; empty if there is no value. */ -}}
{{- define "cloud-provider-baremetal.configText" -}}
{{- with .Values.config }}{{ kindIs "string" . | ternary . (toYaml .) }}{{ end -}}
{{- end }}

{{- /* The ConfigMap "config" in the cluster as JSON, if this release has created it, or else {}. */ -}}
{{- define "cloud-provider-baremetal.liveConfig" -}}
{{- $live := lookup "v1" "ConfigMap" .Release.Namespace "config" -}}
{{- $annotations := dig "metadata" "annotations" dict $live -}}
{{- if and (eq (get $annotations "meta.helm.sh/release-name") .Release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") .Release.Namespace) -}}
{{ toJson $live }}
{{- else -}}
{}
{{- end -}}
{{- end }}

{{- /* A cluster can have one release of this chart, because two would give the same addresses. */ -}}
{{- define "cloud-provider-baremetal.checkOnlyRelease" -}}
{{- $role := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "baremetal-ccm" -}}
{{- $name := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $role -}}
{{- $namespace := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" $role -}}
{{- if and $name (or (ne $name .Release.Name) (ne $namespace .Release.Namespace)) -}}
{{- fail (printf "this cluster already has the release %q of this chart in the namespace %q, and a cluster can have only one: change that release with helm upgrade, or remove it with helm uninstall" $name $namespace) -}}
{{- end -}}
{{- end }}
