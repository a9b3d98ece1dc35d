#!/usr/bin/env bash
# Looks the dependencies up in the RustSec advisory database. Apart from `make check`, because it fetches the
# database with git from a host that a closed build machine may not reach, and because its answer changes while
# the project does not.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need git "The advisory database is fetched with it (Debian, Ubuntu: apt-get install git)."
ensure_rust
ensure_cargo_tool cargo-deny "$cargo_deny_version"
"$tool_bin/cargo-deny" check advisories
