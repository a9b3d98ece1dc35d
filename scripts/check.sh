#!/usr/bin/env bash
# Everything about the sources that needs no running part. Runs all checks, then names those that failed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_c_toolchain
need_python
need git "It lists the files to check (Debian, Ubuntu: apt-get install git)."
ensure_rust_target wasm32-wasip1
ensure_rust_component rustfmt cargo-fmt
ensure_rust_component clippy cargo-clippy
ensure_packages shellcheck=shellcheck yamllint=yamllint
ensure_libraries "${bridge_libraries[@]}"
ensure_cargo_tool cargo-deny "$cargo_deny_version"

failed=()

# check NAME COMMAND...: runs one check and remembers its name if it fails.
check() {
  local name="$1"
  shift
  say "$name"
  "$@" || failed+=("$name")
}

json_files() {
  local file status=0
  while IFS= read -r file; do
    python3 -m json.tool "$file" /dev/null || {
      echo "$file is not JSON" >&2
      status=1
    }
  done < <(git ls-files --cached --others --exclude-standard '*.json')
  return "$status"
}

yaml_files() {
  local files
  mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.yml' '*.yaml')
  # Rules about looks are for what people write; line length never helps in YAML.
  yamllint --strict -d '{extends: relaxed, rules: {line-length: disable}}' "${files[@]}"
}

shell_scripts() {
  local files
  mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
  shellcheck -x "${files[@]}"
}

check "rustfmt (mend: cargo fmt)" cargo fmt --all --check
check "rustfmt for the fuzz targets" cargo fmt --manifest-path fuzz/Cargo.toml --check
check "clippy for the fuzz targets (lock file out of date: run cargo metadata --manifest-path fuzz/Cargo.toml)" \
  cargo clippy --locked --manifest-path fuzz/Cargo.toml --no-default-features --all-targets -- -D warnings
check "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
check "clippy for the bridge with all it can have" cargo clippy --locked -p kafka-bridge --features oidc --all-targets -- -D warnings
check "clippy for the filter (wasm32-wasip1)" \
  cargo clippy --locked -p wicketgate-filter --target wasm32-wasip1 -- -D warnings
check "layers of the bridge" cargo test --locked --quiet -p kafka-bridge --test layers
check "rustdoc" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --workspace --no-deps
check "dependencies: bans, licenses, sources" "$tool_bin/cargo-deny" --locked check --hide-inclusion-graph bans licenses sources
check "generated files" scripts/generate.sh --check
check "shell scripts" shell_scripts
check "JSON files" json_files
check "YAML files" yaml_files

if ((${#failed[@]})); then
  for name in "${failed[@]}"; do printf '  failed: %s\n' "$name" >&2; done
  fail "${#failed[@]} of the checks failed; each one's output is above."
fi
say "All checks passed"
