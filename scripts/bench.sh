#!/usr/bin/env bash
# How many events the bridge takes, on this machine: one a call and a hundred a call, over 1, 64 and 256 connections,
# with acks=all to a real Kafka. Prints a table; nothing is judged. Takes about a minute once all is built.
#
# Arguments are handed to the bridge, such as `--librdkafka linger.ms=1`. KAFKA_BOOTSTRAP_SERVERS=host:port,... writes
# to that cluster. BENCH_SECONDS, BENCH_CONNECTIONS, BENCH_PARTITIONS, BENCH_SINGLES: see
# tests/examples/bench_bridge.rs, which is also the load generator (hyper's client, a connection for each caller).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_c_toolchain
ensure_bridge_libraries
ensure_packages java=default-jre-headless mvn=maven
scripts/fetch-kafka.sh
say "Building the bridge and the load generator, as they ship"
cargo build --locked --release -p kafka-bridge --bins --features "$bridge_features"
cargo build --locked --release -p wicketgate-tests --example bench_bridge
say "Measuring"
target/release/examples/bench_bridge "$@"
