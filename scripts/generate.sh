#!/usr/bin/env bash
# Writes the generated files anew. With --check it writes nothing and fails if one of them is not what would be
# written.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
ensure_rust

fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT

cargo build --locked -p wicketgate
wicketgate="$root/target/debug/wicketgate"

mkdir -p "$fresh/envoy" "$fresh/policy/schema"
"$wicketgate" schema >"$fresh/policy/schema/wicketgate.schema.json"
"$wicketgate" render envoy envoy/demo.json >"$fresh/envoy/envoy.yaml"
# In compose callers come from outside of the container, and the bridge is found by its service's name. Envoy's
# admin interface stays on the container's loopback: it can stop Envoy.
"$wicketgate" render envoy envoy/demo.json --listen 0.0.0.0:10000 --bridge kafka-bridge:8080 \
  --wasm /etc/wicketgate/wicketgate.wasm >"$fresh/envoy/compose.yaml"

stale=0
while IFS= read -r file; do
  if [[ "${1:-}" == --check ]]; then
    diff -u --label "$file" --label "$file (as generated)" "$file" "$fresh/$file" || stale=1
  elif ! cmp -s "$fresh/$file" "$file"; then
    mkdir -p "$(dirname "$file")"
    cp "$fresh/$file" "$file"
    say "wrote $file"
  fi
done < <(cd "$fresh" && find . -type f -printf '%P\n' | sort)

((stale == 0)) || fail "generated files are out of date (the difference is above): run 'make generate' and commit what it writes."
