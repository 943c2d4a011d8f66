# One image with both binaries, which are static: nothing else is needed.
FROM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=v0.1.0
ARG COMMIT
RUN make build VERSION=$VERSION COMMIT=$COMMIT PROGRAMS="./cmd/baremetal-cloud-controller-manager ./cmd/baremetal-speaker"
RUN make licenses PROGRAMS="./cmd/baremetal-cloud-controller-manager ./cmd/baremetal-speaker"

FROM scratch
ARG VERSION=v0.1.0
ARG COMMIT
ARG CREATED
LABEL org.opencontainers.image.title="cloud-provider-baremetal" \
      org.opencontainers.image.description="Addresses for Services of type LoadBalancer on bare-metal clusters, announced by ARP, NDP and BGP." \
      org.opencontainers.image.source="https://github.com/baremetal-lb/cloud-provider-baremetal" \
      org.opencontainers.image.documentation="https://github.com/baremetal-lb/cloud-provider-baremetal/blob/$VERSION/docs/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /src/bin/baremetal-cloud-controller-manager /src/bin/baremetal-speaker /src/bin/THIRD_PARTY_LICENSES /src/LICENSE /
USER 65532:65532
