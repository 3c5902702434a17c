# The binary is cross-compiled: docker buildx build --platform linux/amd64,linux/arm64 emulates nothing.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=container
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X ottla/internal/cli.Version=${VERSION}" -o /out/ottla ./cmd/ottla \
 && mkdir -p /out/data

FROM scratch
# For `ottla investigate` of clusters with TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ottla /ottla
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
EXPOSE 9092 9464
# There is no authentication yet: publish the ports to networks that you trust. Clients are told to connect to localhost, as after
#   docker run -v ottla-data:/data -p 127.0.0.1:9092:9092 ottla
# For others say the name by which they reach it, with all of what CMD says.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/ottla", "topic", "list", "-b", "127.0.0.1:9092"]
ENTRYPOINT ["/ottla"]
CMD ["serve", "--data", "/data", "--listen", "0.0.0.0:9092", "--advertise", "localhost:9092", "--http", "0.0.0.0:9464"]
