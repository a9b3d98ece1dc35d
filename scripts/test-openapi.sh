#!/usr/bin/env bash
# Holds the release bridge against the OpenAPI document that it serves, with Schemathesis: valid and invalid requests to
# each path, and all checks of the answers. OPENAPI_EXAMPLES says how many for each path and kind, OPENAPI_SEED which.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

examples="${OPENAPI_EXAMPLES:-60}"
# The same each time, so that a run fails for what was changed.
seed="${OPENAPI_SEED:-1}"
bridge="$root/target/release/kafka-bridge"
[[ -x "$bridge" ]] || fail "target/release/kafka-bridge is missing: run 'scripts/build.sh' first."
scripts/fetch-schemathesis.sh
PYTHONPATH="$(schemathesis_home):$root/scripts/schemathesis"
export PYTHONPATH SCHEMATHESIS_HOOKS=hooks

work="$(mktemp -d)"
pid=''
stop_bridge() {
  [[ -z "$pid" ]] && return
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  pid=''
}
trap 'stop_bridge; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start_bridge FLAG...: on a port of its own, which it sets `address` to; returns when it is ready.
start_bridge() {
  : >"$work/log"
  "$bridge" --embedded-broker --listen 127.0.0.1:0 --log-format json --log info "$@" >/dev/null 2>"$work/log" &
  pid=$!
  local waited=0
  until address="$(sed -n 's/.*"listen":"\([^"]*\)".*/\1/p' "$work/log")" && [[ -n "$address" ]] &&
    python3 -c 'import sys, urllib.request as r; r.urlopen("http://%s/readyz" % sys.argv[1])' "$address" 2>/dev/null; do
    if ! kill -0 "$pid" 2>/dev/null || ((++waited > 150)); then
      cat "$work/log" >&2
      fail "the bridge did not get ready (its log is above)."
    fi
    sleep 0.2
  done
}

# check FLAG...: ends the script on findings. The ce- headers make requests of other media types than CloudEvents' own
# events in binary mode, which the document can only say in words. The health checks are about what is generated, and
# how fast, and say nothing of the bridge.
check() {
  # In an empty directory: it keeps what it generated beside it.
  (cd "$work" && python3 -m schemathesis.cli --config-file "$root/scripts/schemathesis/schemathesis.toml" \
    run "http://$address/openapi.json" --checks all --phases examples,coverage,fuzzing \
    --max-examples "$examples" --seed "$seed" --continue-on-failure --suppress-health-check too_slow,filter_too_much --no-color \
    -H ce-specversion:1.0 -H ce-id:1 -H ce-source:/test -H ce-type:com.example.test "$@") ||
    fail "the bridge and its OpenAPI document differ (Schemathesis says where, above; 'scripts/test-openapi.sh' runs it again)."
}

# Events come again in what is generated, which a bridge with a memory answers 422.
start_bridge --idempotency-entries 0
check
stop_bridge

say "Once more, with a token, and a memory of events that come again"
token="$(python3 -c 'import secrets; print(secrets.token_hex(32))')"
printf '%s\n' "$token" >"$work/tokens"
start_bridge --hop-token-file "$work/tokens"
check --exclude-checks positive_data_acceptance -H "authorization: Bearer $token"
stop_bridge
