#!/usr/bin/env bash
# Every test, in stages: what is cheap and precise first. Installs what the tests need. Nothing is skipped: a part
# that cannot be had fails the run.
#
# KAFKA_BOOTSTRAP_SERVERS=host:port,... runs the end-to-end tests against that cluster. A Kafka is fetched even so:
# its own command-line clients check what ours wrote, and tests that freeze a broker bring their own.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

stage=''
took=()
trap 'code=$?; ((code == 0)) || printf "%sfailed:%s %s (after %d min %02d s)\n" "$red" "$red_end" "${stage:-start}" $((SECONDS / 60)) $((SECONDS % 60)) >&2' EXIT

# stage NAME COMMAND...: announced with the time since the start; the first that fails ends the run.
stage() {
  local began=$SECONDS
  stage="$1"
  shift
  say "$(printf '[%d:%02d] %s' $((SECONDS / 60)) $((SECONDS % 60)) "$stage")"
  "$@"
  took+=("$(printf '%3d min %02d s  %s' $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) "$stage")")
}

install_tools() {
  need_rust
  need_c_toolchain
  need_python
  ensure_rust_target wasm32-wasip1
  ensure_rust_target wasm32-unknown-unknown
  ensure_packages node=nodejs npm=npm java=default-jre-headless mvn=maven openssl=openssl setpriv=util-linux redis-server=redis-server chromium=chromium
  ensure_libraries "${bridge_libraries[@]}"
  # The runner and the library it serves refuse to work with each other's other versions.
  ensure_cargo_tool wasm-bindgen-cli "$(locked_version wasm-bindgen)"
}

fetch_servers() {
  scripts/fetch-envoy.sh
  scripts/fetch-kafka.sh
  scripts/fetch-cloudevents.sh
  scripts/fetch-cloudevents-schema.sh
  scripts/fetch-schemathesis.sh
}

core_in_wasm() {
  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$tool_bin/wasm-bindgen-test-runner" \
    cargo test --locked --target wasm32-unknown-unknown -p wicketgate-envelope -p wicketgate-policy --tests
}

say "This takes about half an hour on two cores, and as long again the first time, when all is built. make test-fast is what takes two minutes."
stage "tools" install_tools
stage "the artefacts that ship" scripts/build.sh
stage "Envoy, Kafka, a CloudEvents SDK and schema, and Schemathesis" fetch_servers
stage "unit tests: envelope, policy, filter, command line, bridge" \
  cargo test --locked -p wicketgate-envelope -p wicketgate-policy -p wicketgate-filter -p wicketgate -p kafka-bridge
stage "the core's tests as wasm, on Node" core_in_wasm
stage "the filter in an emulated host: natively, and the shipped wasm at the cost that is written down" \
  cargo test --locked -p wicketgate-emulator
stage "the bridge against its OpenAPI document, with Schemathesis" scripts/test-openapi.sh
# Always the same inputs: what a test run finds has to be about the change that it tests. `make fuzz` looks further.
stage "fuzz targets, on the same inputs each time" env FUZZ_SEED=1 scripts/fuzz.sh
stage "TLS and SASL: a bridge with OpenSSL and libcurl, real Kafka" \
  cargo test --locked -p kafka-bridge --features oidc --test bridge secured::
stage "end to end, and under faults: the shipped wasm, real Envoy, real Kafka" cargo test --locked -p wicketgate-tests

printf '  %s\n' "${took[@]}"
say "$(printf 'All tests passed in %d min %02d s' $((SECONDS / 60)) $((SECONDS % 60)))"
