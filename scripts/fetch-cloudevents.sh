#!/usr/bin/env bash
# Fetches CloudEvents' SDK for Python, for the tests, into target/tools/cloudevents-<version>. Does nothing when it is
# there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements=scripts/cloudevents-requirements.txt
version="$(sed -n 's/^cloudevents==\([0-9.]*\).*/\1/p' "$requirements")"
home="$root/target/tools/cloudevents-$version"

[[ -d "$home" ]] && exit 0
need_python
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  fail "CloudEvents' SDK $version needs Python 3.10 or newer, and python3 is $(python3 --version 2>&1)."

mkdir -p "$root/target/tools"
work="$(mktemp -d "$root/target/tools/.cloudevents.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

python="$(python_with_pip "$work" "CloudEvents' SDK")"

say "Fetching CloudEvents' SDK for Python $version"
# Only what its reader of Kafka messages needs, so no dependencies but those in the file.
PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --disable-pip-version-check --quiet --no-deps --only-binary=:all: \
  --require-hashes --requirement "$requirements" --target "$work/home" ||
  fail "pip could not fetch CloudEvents' SDK $version (its own words are above). Check the network and pip's settings ('python3 -m pip config list'), then try again."
PYTHONPATH="$work/home" python3 -c 'from cloudevents.core.bindings import kafka' ||
  fail "CloudEvents' SDK $version does not work with $(python3 --version 2>&1) (its own words are above)."

mv -T "$work/home" "$home" 2>/dev/null || true # A run beside this one may have been faster; its result is as good.
[[ -d "$home" ]] || fail "could not move CloudEvents' SDK to $home."
say "CloudEvents' SDK $version is at ${home#"$root/"}"
