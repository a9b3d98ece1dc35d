#!/usr/bin/env bash
# What things cost on this machine. Prints tables; nothing is judged. Takes some five minutes once all is built.
#
#   filter   how long the wasm that ships takes for each way to authenticate, and what a document with 100,000 consumers
#            takes: tests/emulator/examples/bench_filter.rs
#   gateway  Envoy with the filter beside an Envoy that merely proxies to the same bridge: tests/examples/bench_gateway.rs
#   bridge   how many events the bridge takes, one a call and a hundred a call: tests/examples/bench_bridge.rs, which is
#            also the load generator (hyper's client, a connection for each caller)
#
# BENCH='gateway bridge' runs only these. With acks=all to a real Kafka; KAFKA_BOOTSTRAP_SERVERS=host:port,... writes to
# that cluster. Arguments are handed to the bridge, such as `--librdkafka linger.ms=1`. BENCH_SECONDS, BENCH_CONNECTIONS,
# BENCH_ROUNDS, BENCH_PARTITIONS, BENCH_SINGLES: see the programs.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

read -r -a wanted <<<"${BENCH:-filter gateway bridge}"

need_rust
scripts/build.sh
for what in "${wanted[@]}"; do
  case "$what" in
    filter)
      say "Measuring the filter"
      cargo run --locked --quiet -p wicketgate-emulator --example bench_filter
      ;;
    gateway | bridge)
      ensure_packages java=default-jre-headless mvn=maven
      scripts/fetch-kafka.sh
      [[ "$what" == bridge ]] || scripts/fetch-envoy.sh
      say "Building the load generator"
      cargo build --locked --release -p wicketgate-tests --example "bench_$what"
      say "Measuring the $what"
      "target/release/examples/bench_$what" "$@"
      ;;
    *) fail "BENCH names '$what', which is none of filter, gateway and bridge." ;;
  esac
done
