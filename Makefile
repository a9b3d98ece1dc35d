# Thin on purpose: every target calls one script, and the scripts run on their own just as well.
.DEFAULT_GOAL := help
.PHONY: help build demo test test-fast delivery costs bench fuzz check audit generate clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build target/wicketgate.wasm and target/release/kafka-bridge
	@scripts/build.sh

demo: ## Run gateway and bridge here and show each record as it lands in Kafka (KAFKA_BOOTSTRAP_SERVERS: in your cluster)
	@scripts/demo.sh

test: ## Run every test: core, wasm, real Envoy, real Kafka
	@scripts/test.sh

test-fast: ## Run what takes two minutes once it is built: core, command, bridge against a mock cluster, filter in an emulated host
	@scripts/test-fast.sh

delivery: ## Play every fault against a real Kafka and write the table in docs/delivery.md
	@scripts/delivery.sh

costs: ## Write anew what each scenario of the filter costs (tests/emulator/costs.txt)
	@scripts/costs.sh

bench: ## Measure the filter, the gateway beside plain proxying, and the bridge
	@scripts/bench.sh

fuzz: ## Run the fuzz targets, FUZZ_SECONDS each (10 unless set)
	@scripts/fuzz.sh

check: ## Formatting, lints, licences and sources of dependencies, generated files
	@scripts/check.sh

audit: ## Look the dependencies up in the RustSec advisory database (fetches it with git)
	@scripts/audit.sh

generate: ## Write the generated files anew: envoy/envoy.yaml, envoy/compose.yaml, the JSON schema
	@scripts/generate.sh

clean: ## Remove everything that was built or fetched into target/
	@cargo clean
