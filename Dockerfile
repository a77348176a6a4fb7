# The hub, its embedded worker and the demo agent in one image: `make image`.
#
#   docker run --rm -p 8080:8080 -e SESSIONHUB_API_KEY=... -v "$PWD:/workspace" sessionhub
#
# Sessions are kept in the volume /data; name it to find it again: -v sessions:/data.
# With a Valkey (SESSIONHUB_VALKEY_URL) they are kept there.
#
# It listens on all interfaces of the container, and without a key a listener
# that is not loopback refuses to start: give SESSIONHUB_API_KEY or
# SESSIONHUB_API_KEYS_FILE. With Valkey SESSIONHUB_TOKEN_SECRET is needed too.
# Port 9464 (metrics, health, pprof) is for the operator: do not publish it.

FROM node:24-bookworm-slim AS dashboard
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-progress
COPY web/ ./
RUN npm run build

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=dashboard /src/web/dist ./web/dist
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -buildvcs=false -trimpath \
    -ldflags "-s -w -X sessionhub/internal/app.Version=${VERSION}" -o /out/sessionhub ./cmd/sessionhub

# Agents run commands: they want a shell, certificates and git, so no distroless.
FROM debian:bookworm-slim
# tini is process 1 and reaps what agents leave behind; the hub cannot do both.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /bin/bash sessionhub \
    && install -d -o sessionhub -g sessionhub /workspace \
    && install -d -o sessionhub -g sessionhub -m 0700 /data
COPY --from=build /out/sessionhub /usr/local/bin/sessionhub
COPY deploy/entrypoint.sh /usr/local/bin/sessionhub-entrypoint
COPY LICENSE /usr/share/doc/sessionhub/LICENSE
USER sessionhub
VOLUME /data
WORKDIR /workspace
EXPOSE 8080 9464
# Whoever collects the container's output reads JSON alone.
ENV SESSIONHUB_LOG_FORMAT=json
ENTRYPOINT ["tini", "--", "sessionhub-entrypoint"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--admin-listen", "0.0.0.0:9464", "--workspace-root", "/workspace"]
