#!/usr/bin/env bash
# Fetches Apache Kafka for the end-to-end tests into target/tools/kafka-<version>/libs, with Maven.
# Does nothing when it is already there. The version is the one in scripts/kafka/pom.xml.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pom=$root/scripts/kafka/pom.xml
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

say() { printf 'fetch-kafka: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

version=$(sed -n 's:.*<kafka\.version>\(.*\)</kafka\.version>.*:\1:p' "$pom")
[ -n "$version" ] || fail "no <kafka.version> in $pom"
target=$root/target/tools/kafka-$version

# The copy of the pom beside libs/ is written last, so its presence means that all of libs/ is there, and its
# content tells whether the dependencies have changed since.
if cmp -s "$pom" "$target/pom.xml"; then
  say "Kafka $version is in $target"
  exit 0
fi

command -v java >/dev/null || fail "Kafka $version needs Java 17 or newer, and there is no 'java' on the PATH. \
Install it, for example: apt-get install openjdk-17-jre-headless"
java_major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
[ "${java_major:-0}" -ge 17 ] || fail "Kafka $version needs Java 17 or newer, and 'java' on the PATH is \
version ${java_major:-unknown}. Install a newer one, for example: apt-get install openjdk-17-jre-headless"
command -v mvn >/dev/null || fail "Kafka is fetched with Maven, and there is no 'mvn' on the PATH. \
Install it, for example: apt-get install maven"

say "fetching Kafka $version with Maven (about 60 MB the first time) ..."
partial=$target.partial.$$
trap 'rm -rf "$partial"' EXIT
mkdir -p "$partial"
log=$partial/maven.log

# Maven's own progress needs a terminal to be readable; without one, a line for each finished artifact is noise.
if [ -t 2 ]; then
  mvn -B -f "$pom" "$plugin:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$partial/libs" 2>&1 |
    tee "$log" | sed -n 's/.*Downloaded from [^:]*: .*\/\([^/ ]*\.jar\) .*/  \1/p' >&2 || status=$?
else
  mvn -B -ntp -f "$pom" "$plugin:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$partial/libs" \
    >"$log" 2>&1 || status=$?
fi
if [ "${status:-0}" -ne 0 ]; then
  grep -E '^\[ERROR\]' "$log" | head -n 5 >&2 || tail -n 20 "$log" >&2
  fail "Maven could not fetch Kafka $version (above). It needs its configured repository to be reachable; \
run scripts/fetch-kafka.sh again when it is."
fi
for artifact in kafka_2.13 kafka-clients kafka-tools; do
  [ -s "$partial/libs/$artifact-$version.jar" ] || fail "Maven finished, but $artifact-$version.jar is missing"
done

cp "$pom" "$partial/pom.xml"
rm -rf "$target"
mv "$partial" "$target"
say "Kafka $version is in $target"
