#!/usr/bin/env bash
# Builds and runs the whole path on this machine: Envoy with the filter, the bridge, and a consumer that prints
# each record as it lands. Ends on Ctrl-C (or SIGTERM), and then nothing that it started is left running.
#
# KAFKA_BOOTSTRAP_SERVERS=host:port,... writes to that cluster; without it the bridge runs an embedded broker.
# Logs: target/demo/*.log. Exit code: 0 when stopped by a signal and everything ended in order, else 1.
set -euo pipefail

# A shell starts background jobs with SIGINT ignored, and bash cannot trap what was ignored when it started.
if [[ -z "${WICKETGATE_DEMO_SIGNALS:-}" ]] && env --default-signal=INT true 2>/dev/null; then
  WICKETGATE_DEMO_SIGNALS=default exec env --default-signal=INT,TERM,HUP bash "${BASH_SOURCE[0]}" "$@"
fi

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

logs="$root/target/demo"
document=envoy/demo.json
# Port, and what the demo uses it for.
ports=("10000:the gateway (Envoy)" "9901:Envoy's admin interface" "8080:kafka-bridge")

declare -A pids=()  # name -> process id of what runs now
stopped_by_user=0

# start NAME COMMAND...: in the background, in a process group of its own, so that Ctrl-C in the terminal reaches
# this script alone, which then ends its children in order.
start() {
  local name="$1"
  shift
  set -m
  "$@" </dev/null &
  pids[$name]=$!
  set +m
}

# run NAME COMMAND...: to its end, yet in the background, where a signal to this script need not wait for it.
run() {
  local name="$1"
  start "$@"
  wait "${pids[$name]}" || {
    unset "pids[$name]"
    exit 1
  }
  unset "pids[$name]"
}

# stop NAME: asks its process group, waits up to ten seconds, then insists. Returns the process's own exit code.
stop() {
  local name="$1" pid="${pids[$1]:-}" code=0 waited=0
  [[ -n "$pid" ]] || return 0
  unset "pids[$name]"
  kill -TERM -- "-$pid" 2>/dev/null || true
  while kill -0 -- "-$pid" 2>/dev/null; do
    if ((waited == 100)); then
      echo "$name (process $pid) did not end within 10 s of being asked to: killing it" >&2
      kill -KILL -- "-$pid" 2>/dev/null || true
      break
    fi
    waited=$((waited + 1))
    sleep 0.1
  done
  wait "$pid" 2>/dev/null || code=$?
  return "$code"
}

# In the order of the data: the gateway first, then the bridge, which ends only when Kafka has what it took on.
# Only a consumer whose broker lives inside the bridge goes before the bridge.
stop_all() {
  local code=$? bridge=0 name
  # From here on everything is attempted, even when the terminal that we report to is gone.
  set +e
  trap '' INT TERM HUP
  trap - EXIT
  ((stopped_by_user)) && printf '\n' && say "Stopping"
  stop envoy
  [[ -n "${KAFKA_BOOTSTRAP_SERVERS:-}" ]] || stop tail
  stop kafka-bridge || bridge=$?
  for name in "${!pids[@]}"; do stop "$name"; done
  ((stopped_by_user)) && code=0
  if ((bridge != 0)); then
    echo "kafka-bridge ended with code $bridge; its log: $logs/kafka-bridge.log" >&2
    code=1
  fi
  ((stopped_by_user)) && say "Stopped; the logs are in ${logs#"$root/"}"
  exit "$code"
}

# give_up NAME SENTENCE...: shows the end of NAME's log before the sentence.
give_up() {
  local name="$1"
  shift
  if [[ -s "$logs/$name.log" ]]; then
    printf -- '--- the last lines of %s ---\n' "${logs#"$root/"}/$name.log" >&2
    tail -n 15 "$logs/$name.log" >&2
    printf -- '---\n' >&2
  fi
  fail "$*"
}

# check_ports: each must be free, or the sentence that says whose port it is and how to find who has it.
check_ports() {
  local entry port purpose
  for entry in "${ports[@]}"; do
    port="${entry%%:*}" purpose="${entry#*:}"
    # Binding is the only honest test: a port can be taken and refuse connections.
    python3 - "$port" <<'PYTHON' || fail "port $port on 127.0.0.1 is taken, and the demo needs it for $purpose. See who has it with 'ss -ltnp sport = :$port' (as root, to see every process), end that process and try again."
import socket, sys

with socket.socket() as probe:
    # As servers do: a port whose last connections linger in TIME_WAIT is free.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", int(sys.argv[1])))
    except OSError:
        sys.exit(1)
PYTHON
  done
}

# http_status PORT PATH: the status that GET answers with, or nothing.
http_status() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 0
    printf 'GET %s HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n' "$2" >&3
    read -r -t 2 _ status _ <&3 && printf '%s' "$status"
  ) 2>/dev/null || true
}

# await NAME SECONDS WHAT COMMAND...: until COMMAND succeeds; gives up when NAME has ended or the time is over.
await() {
  local name="$1" seconds="$2" what="$3" deadline=$((SECONDS + $2))
  shift 3
  until "$@"; do
    kill -0 "${pids[$name]}" 2>/dev/null || give_up "$name" "$name ended before $what."
    ((SECONDS < deadline)) || give_up "$name" "gave up after ${seconds} s of waiting until $what."
    sleep 0.1
  done
}

answers() { [[ "$(http_status "$1" "$2")" == "$3" ]]; }
bridge_said_where() { grep -q '^KAFKA_BOOTSTRAP_SERVERS=' "$logs/kafka-bridge.log"; }
tail_reads() { grep -qx 'tail: ready' "$logs/tail.log"; }

need_rust
need_c_toolchain
need_python
check_ports

trap stop_all EXIT
trap 'stopped_by_user=1; exit 0' INT TERM HUP

# It has no use for TLS to Kafka, so a look at it takes no packages for that.
if [[ -z "${BRIDGE_FEATURES+set}" ]] && ! have_libraries "${bridge_libraries[@]}"; then
  say "The bridge is built without TLS to Kafka, as OpenSSL's and libcurl's development packages are not here (\`make build\` takes them)"
  export BRIDGE_FEATURES=''
fi
run build scripts/build.sh --example tail
run fetch-envoy scripts/fetch-envoy.sh

topics="$(python3 - "$document" <<'PYTHON'
import json, sys

routes = json.load(open(sys.argv[1], encoding="utf-8"))["routes"]
print(",".join(sorted({route["kafka"]["topic"] for route in routes if "kafka" in route})))
PYTHON
)"

rm -rf "$logs"
mkdir -p "$logs"
# Again, now that it matters: the build may have taken minutes.
check_ports

if [[ -n "${KAFKA_BOOTSTRAP_SERVERS:-}" ]]; then
  bootstrap="$KAFKA_BOOTSTRAP_SERVERS"
  kafka="your cluster at $bootstrap"
  say "Starting the bridge (Kafka: $kafka)"
  start kafka-bridge target/release/kafka-bridge --listen 127.0.0.1:8080 >"$logs/kafka-bridge.log" 2>&1
else
  unset KAFKA_BOOTSTRAP_SERVERS
  say "Starting the bridge with its embedded broker"
  start kafka-bridge target/release/kafka-bridge --listen 127.0.0.1:8080 --embedded-broker >"$logs/kafka-bridge.log" 2>&1
  await kafka-bridge 15 "the embedded broker ran" bridge_said_where
  bootstrap="$(sed -n 's/^KAFKA_BOOTSTRAP_SERVERS=//p' "$logs/kafka-bridge.log" | head -n 1)"
  kafka="embedded broker at $bootstrap; its records end with the demo"
fi
await kafka-bridge 30 "kafka-bridge could produce to Kafka at $bootstrap" answers 8080 /readyz 200

say "Starting Envoy"
start envoy "$envoy_path" -c envoy/envoy.yaml --concurrency 2 --log-level warn >"$logs/envoy.log" 2>&1
await envoy 30 "Envoy was ready (127.0.0.1:9901/ready)" answers 9901 /ready 200

start tail target/release/examples/tail --bootstrap-servers "$bootstrap" --topics "$topics" 2>"$logs/tail.log"
await tail 30 "the consumer could read from Kafka at $bootstrap" tail_reads

cat <<TEXT

${bold}Wicketgate is up.${plain} Gateway http://localhost:10000, Envoy's admin http://localhost:9901, bridge http://localhost:8080
Kafka: $kafka
Paste these into another terminal:

  # 202 and a receipt: Kafka has the record
  curl -i -X POST localhost:10000/v1/orders/42 -H 'x-api-key: demo-key' -H 'content-type: application/json' -d '{"total":12.5}'

  # 401: no key, no record
  curl -i -X POST localhost:10000/v1/orders/42 -H 'content-type: application/json' -d '{"total":12.5}'

  # 404: no such route, no record
  curl -i -X POST localhost:10000/v1/nowhere -H 'x-api-key: demo-key' -d '{}'

Each record shows up below as it lands in Kafka (topics: $topics). Ctrl-C stops everything.

TEXT

# Nothing to do but to watch: whichever ends first ends the demo.
wait -n "${pids[@]}" || true
for name in kafka-bridge envoy tail; do
  kill -0 "${pids[$name]}" 2>/dev/null || give_up "$name" "$name ended by itself."
done
