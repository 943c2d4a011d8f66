{{- define "image" -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
{{- end }}

{{- /* Which Services are served: the same for both programs. */ -}}
{{- define "scope" -}}
- --load-balancer-class={{ .Values.loadBalancerClass }}
- --default-load-balancer={{ .Values.defaultLoadBalancer }}
{{- end }}
