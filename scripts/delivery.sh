#!/usr/bin/env bash
# Plays every row of the table in docs/delivery.md (the same tests that `make test` runs) and writes it anew, between
# its two markers. Nothing else should run on the machine meanwhile, or the times are those of a busy one.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rows="$root/target/delivery"
document=docs/delivery.md

need_rust
need_c_toolchain
need_python
ensure_packages java=default-jre-headless mvn=maven redis-server=redis-server
scripts/build.sh
scripts/fetch-envoy.sh
scripts/fetch-kafka.sh

rm -rf "$rows"
say "Playing the faults (some minutes)"
cargo test --locked -p wicketgate-tests --test delivery -- --nocapture --test-threads=1

python3 - "$document" "$rows" "$(nproc)" <<'PYTHON'
import pathlib, re, sys

document, rows, cores = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
kafka = re.search("<kafka.version>(.*)</kafka.version>", pathlib.Path("scripts/kafka/pom.xml").read_text()).group(1)
lines = [row.read_text() for row in sorted(rows.glob("*.md"))]
head = (
    f"Apache Kafka {kafka}, {cores} processor cores for everything.\n\n"
    "| what happens | sent | acknowledged | arrived | acknowledged and lost | duplicates | not written | unknown "
    "| first 503 | 503 after the breaker opened | ready again |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)
text = document.read_text()
begin, end = "<!-- table, written by `make delivery` -->\n", "<!-- end of the table -->\n"
before, rest = text.split(begin)
_, after = rest.split(end)
document.write_text(before + begin + head + "".join(lines) + end + after)
PYTHON
say "$document has the new table"
