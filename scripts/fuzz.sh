#!/usr/bin/env bash
# Runs fuzz targets for a bounded time, from the seeds in fuzz/corpus on: all targets, or those that are named.
#
# FUZZ_SECONDS is how long each runs (default 10). What they learn goes to target/fuzz/corpus and is where the next run
# begins; an input that breaks something is kept in fuzz/artifacts, and how to run it again is said at the end.
#
# FUZZ_SEED makes a run repeatable: it starts from the seeds alone, and the same seed tries the same inputs in the same
# order, as many as there is time for, up to 200,000.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds="${FUZZ_SECONDS:-10}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || fail "FUZZ_SECONDS: wanted a whole number of seconds, got '$seconds'"
fuzz_seed="${FUZZ_SEED:-}"
[[ "$fuzz_seed" =~ ^[0-9]*$ ]] || fail "FUZZ_SEED: wanted a whole number, got '$fuzz_seed'"

need_rust
need_c_toolchain
ensure_rust
ensure_cargo_tool cargo-fuzz "$cargo_fuzz_version"
export PATH="$tool_bin:$PATH"

mapfile -t known < <(cargo fuzz list)
targets=("$@")
((${#targets[@]})) || targets=("${known[@]}")
for target in "${targets[@]}"; do
  [[ " ${known[*]} " == *" $target "* ]] || fail "no fuzz target '$target'; there are: ${known[*]}"
done

host="$(rustc -vV | sed -n 's/^host: //p')"
programs="$root/target/fuzz/$host/release"
logs="$root/target/fuzz/logs"

say "Building the fuzz targets"
# Coverage is all the instrumentation that the pinned toolchain has; the core is safe code, which a sanitizer would
# find nothing in.
cargo fuzz build --sanitizer none --target "$host" --target-dir target/fuzz

# fuzz TARGET: its log is shown only if it fails.
fuzz() {
  local learnt="target/fuzz/corpus/$1" artifacts="fuzz/artifacts/$1/" repeatable=()
  if [[ -n "$fuzz_seed" ]]; then
    learnt="target/fuzz/repeatable/$1"
    rm -rf "$learnt"
    repeatable=(-seed="$fuzz_seed" -runs=200000)
  fi
  mkdir -p "$learnt" "$artifacts" "$logs"
  RUST_BACKTRACE=0 "$programs/$1" "$learnt" "fuzz/corpus/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 \
    "${repeatable[@]}" -artifact_prefix="$artifacts" -print_final_stats=1 >"$logs/$1.log" 2>&1
}

failed=()
# collect: waits for one of those that run.
collect() {
  local pid status=0
  wait -n -p pid || status=$?
  local target="${running[$pid]}"
  unset "running[$pid]"
  if ((status)); then
    failed+=("$target")
    # Without the lines that tell of progress.
    grep -av '^#[0-9]' "$logs/$target.log" | tail -n 40 >&2
  else
    say "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target.log") inputs"
  fi
}

declare -A running=()
for target in "${targets[@]}"; do
  ((${#running[@]} < $(nproc))) || collect
  fuzz "$target" &
  running[$!]="$target"
done
while ((${#running[@]})); do collect; done

if ((${#failed[@]})); then
  for target in "${failed[@]}"; do
    printf '  failed: %s; once more: %s fuzz/artifacts/%s/<file>\n' "$target" "${programs#"$root/"}/$target" "$target" >&2
  done
  fail "${#failed[@]} of the fuzz targets failed. Keep each input in fuzz/corpus/<target>/ once its cause is mended."
fi
