# One image with both binaries, which are static: nothing else is needed.
FROM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=v0.1.0
RUN make build VERSION=$VERSION

FROM scratch
COPY --from=build /src/bin/baremetal-cloud-controller-manager /src/bin/baremetal-speaker /
USER 65532:65532
