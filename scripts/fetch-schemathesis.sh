#!/usr/bin/env bash
# Fetches Schemathesis, for the tests, into the directory that scripts/lib.sh names. Does nothing when it is there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_python
home="$(schemathesis_home)"

[[ -d "$home" ]] && exit 0
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  fail "Schemathesis $schemathesis_version needs Python 3.10 or newer, and python3 is $(python3 --version 2>&1)."

mkdir -p "$root/target/tools"
work="$(mktemp -d "$root/target/tools/.schemathesis.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

python="$(python_with_pip "$work" "Schemathesis")"

say "Fetching Schemathesis $schemathesis_version"
PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --disable-pip-version-check --quiet --only-binary=:all: \
  --require-hashes --requirement "$schemathesis_requirements" --target "$work/home" ||
  fail "pip could not fetch Schemathesis $schemathesis_version (its own words are above). Check the network and pip's settings ('python3 -m pip config list'), then try again."
PYTHONPATH="$work/home" python3 -m schemathesis.cli --version >"$work/version.log" 2>&1 || {
  sed 's/^/  /' "$work/version.log" >&2
  fail "Schemathesis $schemathesis_version does not work with $(python3 --version 2>&1) (its own words are above)."
}

mv -T "$work/home" "$home" 2>/dev/null || true # A run beside this one may have been faster; its result is as good.
[[ -d "$home" ]] || fail "could not move Schemathesis to $home."
say "Schemathesis $schemathesis_version is at ${home#"$root/"}"
