{{- define "image" -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
{{- end }}

{{- /* The Services that are served. Both programs must have the same values. */ -}}
{{- define "scope" -}}
- --load-balancer-class={{ .Values.loadBalancerClass }}
- --default-load-balancer={{ .Values.defaultLoadBalancer }}
{{- end }}

{{- /* auto or off. YAML reads off without quotes as false. */ -}}
{{- define "spread" -}}
{{ ternary "off" "auto" (has (toString .Values.speaker.spread) (list "off" "false")) }}
{{- end }}

{{- /* 85 % of the memory limit. Near that value Go frees memory earlier, so that the kernel
does not end the program. Empty if there is no limit. */ -}}
{{- define "goMemLimit" -}}
{{- with dig "limits" "memory" "" . -}}
{{- $limit := ternary (printf "%.0f" .) (toString .) (kindIs "float64" .) -}}
{{- $number := regexFind "^[0-9]+" $limit -}}
{{- $unit := get (dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824) (trimPrefix $number $limit) -}}
{{- printf "%dMiB" (div (mul $number $unit 85) 104857600) -}}
{{- end -}}
{{- end }}
