#!/usr/bin/env bash
# The tests that need neither Envoy nor Kafka, for a change that is being worked on: core and command natively, the
# bridge's own tests against librdkafka's mock cluster, and the filter in an emulated host. `make test` runs all others, too.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_c_toolchain
ensure_rust_target wasm32-wasip1
ensure_libraries "${bridge_libraries[@]}"

say "Core, filter, command, and the bridge's own tests"
cargo test --locked -p wicketgate-envelope -p wicketgate-policy -p wicketgate-filter -p wicketgate
cargo test --locked -p kafka-bridge --lib --bins
say "The filter in an emulated host: natively, and as the module that ships"
build_filter
cargo test --locked -p wicketgate-emulator
say "$(printf 'These tests passed in %d min %02d s; make test runs all' $((SECONDS / 60)) $((SECONDS % 60)))"
