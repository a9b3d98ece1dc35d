#!/usr/bin/env bash
# Fetches the JSON Schema that the CloudEvents project publishes, for the tests, into
# target/tools/cloudevents-schema-<version>.json. Does nothing when it is there. It comes out of CloudEvents' SDK for
# JavaScript, which has it, word for word, as a line of the validator that was compiled from it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The SDK's version, which the tests read from here, and the SHA-512 of its package.
version=10.0.0
sha512=bb2cc2f8fa4c3116b06e8b873bede6962b2bdd07c40ce6e6a36a4de284d317a7599dc660a48cdd6ac671d2d441148d5d32ca822d965732dcfc714baf62a1dd6f

schema="$root/target/tools/cloudevents-schema-$version.json"
[[ -f "$schema" ]] && exit 0
need npm "CloudEvents' JSON Schema is fetched with Node's package manager: install it (Debian, Ubuntu: apt-get install npm)."
need python3 "It is needed to read CloudEvents' JSON Schema (Debian, Ubuntu: apt-get install python3)."

mkdir -p "$root/target/tools"
work="$(mktemp -d "$root/target/tools/.cloudevents-schema.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "Fetching CloudEvents' JSON Schema (SDK for JavaScript $version)"
# Only the package itself: nothing of it is installed, and none of it is run.
npm pack --silent --pack-destination "$work" "cloudevents@$version" >"$work/npm.log" 2>&1 || {
  cat "$work/npm.log" >&2
  fail "npm could not fetch cloudevents $version (its own words are above). Check the network and npm's settings ('npm config list'), then try again."
}
package="$work/cloudevents-$version.tgz"
sha512sum --check --status <<<"$sha512  $package" ||
  fail "cloudevents-$version.tgz is not the package that was pinned: wanted SHA-512 $sha512, got $(sha512sum "$package" | cut -d ' ' -f 1)."
tar -xzf "$package" -C "$work" package/dist/schema/v1.js
# shellcheck disable=SC2016  # the dollar is part of the name of a JSON member
sed -n 's/^const schema[0-9]* = \({ "\$schema": .*}\);$/\1/p' "$work/package/dist/schema/v1.js" >"$work/schema.json"
python3 -c 'import json, sys; assert json.load(sys.stdin)["description"] == "CloudEvents Specification JSON Schema"' <"$work/schema.json" ||
  fail "there is no CloudEvents JSON Schema in dist/schema/v1.js of cloudevents $version."

mv "$work/schema.json" "$schema"
say "CloudEvents' JSON Schema is at ${schema#"$root/"}"
