# syntax=docker/dockerfile:1
# The exporter in an image without a shell. Both base images are arguments, so that a mirror or another distribution can be
# used; the second must have glibc and CA certificates, as distroless/cc has.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
# The dependencies are a layer of their own: it is built anew only when the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY crates/rules/Cargo.toml crates/rules/
COPY crates/testkit/Cargo.toml crates/testkit/
RUN mkdir src crates/rules/src crates/testkit/src \
    && printf 'fn main() {}\n' >src/main.rs \
    && touch src/lib.rs crates/rules/src/lib.rs crates/testkit/src/lib.rs \
    && cargo build --release --locked --bin dr-exporter \
    && rm -rf src crates target/release/dr-exporter target/release/deps/*dr_exporter* target/release/deps/*dr_rules* \
        target/release/.fingerprint/dr-exporter-* target/release/.fingerprint/dr-rules-*
COPY crates crates
COPY src src
COPY docs/runbooks docs/runbooks
RUN cargo build --release --locked --bin dr-exporter && mkdir -p /out/data && cp target/release/dr-exporter /out/

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dr-exporter" \
      org.opencontainers.image.description="Measures disaster-recovery contracts (RTO, RPO) and serves them to Prometheus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/dr-exporter /usr/bin/dr-exporter
# A volume takes over owner and mode of the directory that it is mounted on.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME ["/data"]
EXPOSE 9877
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/usr/bin/dr-exporter", "health", "--url=http://127.0.0.1:9877"]
ENTRYPOINT ["/usr/bin/dr-exporter"]
CMD ["serve", "--config.file=/etc/dr-exporter/config.yaml", "--storage.path=/data", "--web.listen-address=:9877"]
