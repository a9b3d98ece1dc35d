#!/usr/bin/env bash
# Builds what runs: target/wicketgate.wasm and target/release/kafka-bridge. Further arguments go to the bridge's
# `cargo build` (the demo adds `--example tail`).
#
# The bridge reaches Kafka with TLS, every SASL mechanism and OpenID Connect, by the machine's OpenSSL and libcurl.
# BRIDGE_FEATURES='' builds one without, for which a C and C++ tool chain is enough.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_c_toolchain
ensure_rust_target wasm32-wasip1
ensure_bridge_libraries

build_filter

say "Building the bridge (target/release/kafka-bridge; librdkafka is compiled the first time)"
cargo build --locked --release -p kafka-bridge --bins --features "$bridge_features" "$@"
