# Each target is one verb of scripts/run; on a machine without make call that script.
# FILE, CASES, BOOTSTRAP_SERVERS, CARGO_TARGET_DIR and ARGS are passed on.
.PHONY: help demo test lint doc bench conformance broker ci

help:
	@scripts/run || true

demo test lint doc bench conformance broker:
	@scripts/run $@

ci:
	@.ci/run
