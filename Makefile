# Each target is one verb of scripts/run; on a machine without make call that script.
# FILE, CASES, BOOTSTRAP_SERVERS, CARGO_TARGET_DIR and ARGS are passed on.
.PHONY: help demo test lint doc bench conformance broker chaos ci

help:
	@scripts/run || true

demo test lint doc bench conformance broker:
	@scripts/run $@

chaos:
	@CHAOS_SECONDS="$(or $(SECONDS),120)" CHAOS_SEED="$(SEED)" CHAOS_BROKERS="$(BROKERS)" CHAOS_GUARANTEE="$(GUARANTEE)" \
	  CHAOS_SCENARIO="$(SCENARIO)" CHAOS_FAULTS="$(FAULTS)" CHAOS_RATE="$(RATE)" CHAOS_EPISODE="$(EPISODE)" CHAOS_JVM="$(JVM)" CHAOS_GO_ON="$(GO_ON)" scripts/run chaos

ci:
	@.ci/run
