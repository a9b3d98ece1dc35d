#!/usr/bin/env bash
# Runs the scenarios of tests/emulator in the shipped wasm and writes anew what each costs: host calls and callbacks by
# name, and wasm instructions. `make test` compares.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
ensure_rust_target wasm32-wasip1
scripts/build.sh
WICKETGATE_WRITE_COSTS=1 cargo test --locked --quiet -p wicketgate-emulator --test scenarios in_the_module
git --no-pager diff --stat -- tests/emulator/costs.txt
