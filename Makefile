# Two commands: make demo, make test. Each builds its own environment the first time.
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-data demo-rollout test test-browser check sim bench bench-loop bench-drift bench-monitor bench-rollouts faults soak up lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(READY): requirements-dev.lock pyproject.toml
	@python3 -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed, python3 is " + sys.version) if not (3, 11) <= sys.version_info < (3, 14) else 0'
	test -x $(PY) || python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY) ## Build the environment in .venv

demo: $(READY) ## Run the whole loop on real data, with a live view; writes reports/demo.json and .html
	$(VENV)/bin/millrace demo examples/electricity $(ARGS)

demo-data: $(READY) ## Inject five faults and show what catches each; writes reports/demo-data.json, .html and .svg
	$(VENV)/bin/millrace demo-data examples/electricity $(ARGS)

demo-rollout: $(READY) ## Deploy five bad models and show what stops each; writes reports/demo-rollout.json, .html and .svg
	$(VENV)/bin/millrace demo-rollout examples/electricity $(ARGS)

test: $(READY) ## Run the tests, on a real broker and schema registry
	@tests/apt.sh
	$(PY) -m tests.run $(ARGS)

test-browser: $(READY) ## Test the console in a real Chromium, against a running system
	@tests/apt.sh
	$(PY) -m pytest tests/browser -m browser $(ARGS)

check: $(READY) ## Lint, format, types, import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

sim: $(READY) ## Run the whole loop in one process on a virtual clock, twice, and compare byte for byte
	$(VENV)/bin/millrace sim examples/electricity $(ARGS)

bench: $(READY) ## Measure ours and the peers side by side in one run; writes reports/bench.json and .svg
	$(PY) -m benchmarks $(ARGS)

PROJECT ?= examples/electricity
bench-loop: $(READY) ## Accuracy of the loop beside river's forest, by replay on a virtual clock; writes reports/bench-loop.json
	$(PY) -m benchmarks.loop $(PROJECT) $(ARGS)

bench-drift: $(READY) ## How soon drift is found, and how often it cries wolf, beside bare detectors; writes reports/bench-drift.json
	$(PY) -m benchmarks.drift $(ARGS)

bench-monitor: $(READY) ## What the monitor costs beside serving, by the row; writes reports/monitor-throughput.json
	$(PY) -m benchmarks.monitor_throughput --report reports $(ARGS)

bench-rollouts: $(READY) ## Canary, A/B and bandit over thousands of seeds: how often they err; writes reports/bench-rollouts.json
	$(PY) -m benchmarks.rollouts $(ARGS)

faults: $(READY) ## What takes long: the matrix of faults with printed seeds, the demo of rollouts, export to a real MLflow
	$(PY) -m pytest tests/faults tests/cli/test_runs_mlflow.py tests/deploy/test_monitoring.py \
		-m "broker or matrix" $(ARGS)

soak: $(READY) ## Ten minutes at a steady rate: memory, descriptors and tasks; writes reports/soak.json and .svg
	$(PY) -m benchmarks.soak $(ARGS)

up: $(READY) ## Run broker, registry and services until Ctrl-C
	$(VENV)/bin/millrace up examples/electricity $(ARGS)

LOCK := uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: ## Make both lock files anew; needs uv
	$(LOCK) --extra postgres --extra dask --extra build pyproject.toml -o requirements.lock
	$(LOCK) --extra postgres --extra dask --extra build --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove the environment and everything that was run
	rm -rf $(VENV) .millrace reports
